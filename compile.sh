#!/usr/bin/env bash
# Makes dist/bunsen: one file with the runtime, the native libraries and the default model inside.
#   ./compile.sh [--lean] [--target linux-x64|darwin-arm64] [--libraries FOLDER]
# --lean leaves the model out. Another target than this machine's takes its libraries from FOLDER when they are there.
set -euo pipefail
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
[ -z "$libraries" ] || [ -d "$libraries" ] || fail "Cannot take libraries from $libraries: there is no such folder"

node scripts/setup.mjs
bun=node_modules/.bin/bun
out=dist/bunsen
[ "$target" = "$host" ] || out=dist/bunsen-$target
parts=build/parts-$target${lean:+-lean}

if [ -z "$libraries" ] && [ "$target" = "$host" ]; then
  libraries=build/native
  [ "$host" = linux-x64 ] || libraries=$(brew --prefix)/lib
fi
node scripts/parts.mjs "$parts" "$target" "${libraries:-none}" "${lean:-model}"

mkdir -p dist
"$bun" build --compile --minify --target="bun-$target" --root src --outfile "$out.new" \
  src/main.ts src/worker/main.ts src/text/main.ts "$parts"/*.part \
  --asset-naming='[name].[ext]' --loader .part:file
mv "$out.new" "$out"

if [ "$target" = "$host" ]; then
  # A worker that cannot be found would only show when the file runs from elsewhere.
  (cd / && "$OLDPWD/$out" version >/dev/null) || fail "$out does not start"
fi
echo "compile: $out is complete ($(du -h "$out" | cut -f1))"
