#!/usr/bin/env bash
# Makes dist/bunsen: one file with the runtime, the native libraries and the default model inside.
#   ./compile.sh [--lean] [--target linux-x64|darwin-arm64] [--libraries FOLDER]
# --lean leaves the model out. Another target than this machine's takes its libraries from FOLDER when they are there.
set -euo pipefail
started_in=$PWD
cd "$(dirname "$0")"

case "$(uname -s)" in
  Darwin) host=darwin-arm64 ;;
  *) host=linux-x64 ;;
esac
target=$host
libraries=""
lean=""

fail() {
  echo "compile: $1" >&2
  exit 1
}

# Homebrew's libraries name each other by absolute paths; unpacked elsewhere they must find each other side by side.
collect_from_homebrew() {
  libraries=build/libraries-darwin-arm64
  rm -rf "$libraries"
  mkdir -p "$libraries"
  cp "$(brew --prefix mlx-c)/lib/libmlxc.dylib" "$(brew --prefix mlx)/lib/libmlx.dylib" \
    "$(brew --prefix mlx)/lib/mlx.metallib" "$libraries"
  chmod u+w "$libraries"/*
  local named
  named=$(otool -L "$libraries/libmlxc.dylib" | awk '/libmlx\.dylib/ { print $1 }')
  install_name_tool -change "$named" @loader_path/libmlx.dylib "$libraries/libmlxc.dylib"
  codesign --force --sign - "$libraries/libmlxc.dylib"
}

# A worker or a library that cannot be found shows only when the file runs from elsewhere.
try_out() {
  local home first_line server line=
  home=$(mktemp -d)
  first_line=$home/first-line
  mkfifo "$first_line"
  (cd / && exec env -i HOME="$home" "$1" serve --port 0 --json >"$first_line") &
  server=$!
  read -r -t 60 line <"$first_line" || true
  kill "$server" 2>/dev/null || true
  wait "$server" || true
  [ -n "$line" ] || fail "$1 does not start, see above"
  rm -rf "$home"
  echo "compile: it starts: $line"
}

while [ $# -gt 0 ]; do
  case "$1" in
    --lean) lean=yes ;;
    --target) target=${2:-} && shift ;;
    --libraries) libraries=${2:-} && shift ;;
    *) fail "Cannot use $1: the options are --lean, --target and --libraries" ;;
  esac
  shift
done
[ "$target" = linux-x64 ] || [ "$target" = darwin-arm64 ] ||
  fail "Cannot compile for \"$target\": the targets are linux-x64 and darwin-arm64"
if [ -n "$libraries" ]; then libraries=$(cd "$started_in" && realpath "$libraries"); fi
[ -z "$libraries" ] || [ -d "$libraries" ] || fail "Cannot take libraries from $libraries: there is no such folder"

node scripts/setup.mjs
bun=node_modules/.bin/bun
out=dist/bunsen
[ "$target" = "$host" ] || out=dist/bunsen-$target
parts=build/parts-$target${lean:+-lean}

if [ -z "$libraries" ] && [ "$target" = "$host" ]; then
  libraries=build/native
  [ "$host" = linux-x64 ] || collect_from_homebrew
fi
node scripts/parts.mjs "$parts" "$target" "${libraries:-none}" "${lean:-model}"

mkdir -p dist
trap 'rm -f "$out.new"' EXIT
# Parsed here once, and not by each thread of each start. Bytecode is of the machine that made it.
bytecode=()
[ "$target" != "$host" ] || bytecode=(--bytecode --format=esm)
# It reads no .env and no bunfig.toml of the folder it is started in.
"$bun" build --compile --minify "${bytecode[@]}" --target="bun-$target" --root src --outfile "$out.new" \
  --no-compile-autoload-dotenv --no-compile-autoload-bunfig --define process.env.NODE_ENV='"production"' \
  src/main.ts src/worker/main.ts src/text/main.ts "$parts"/*.part \
  --asset-naming='[name].[ext]' --loader .part:file
if [ "$target" = "$host" ]; then try_out "$PWD/$out.new"; fi
mv "$out.new" "$out"
echo "compile: $out is complete ($(du -h "$out" | cut -f1))"
