#!/usr/bin/env bash
# A stranger's first minutes, from the last commit: clone to an empty folder with an empty HOME, npm start, chat, stop, start
# again offline, compile, carry the file elsewhere, chat. Takes about a minute; run by hand before a release.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
server=
trap 'stop 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/home" "$work/elsewhere" "$work/other-home"
export HOME=$work/home
unset BUNSEN_HOME BUNSEN_MLX_LIBRARY HF_HOME HF_HUB_CACHE XDG_CACHE_HOME

main() {
  git clone --quiet "$root" "$work/clone"
  cd "$work/clone"
  start first npm start -- --port 0 --json
  chat && stop
  start second env npm_config_offline=true PIP_NO_INDEX=1 npm start -- --port 0 --json
  chat && stop
  ./compile.sh
  mv dist/bunsen "$work/elsewhere"
  cd "$work/elsewhere"
  rm -rf "$work/clone"
  start compiled env -i HOME="$work/other-home" PATH=/nonexistent ./bunsen serve --port 0 --json
  chat && stop
  echo "fresh clone: all is well"
}

# start TITLE COMMAND...: waits for the line that tells the address.
start() {
  local title=$1 began=$SECONDS
  shift
  : >"$work/output"
  "$@" >"$work/output" &
  server=$!
  until url=$(grep -o '"url":"[^"]*"' "$work/output" | cut -d'"' -f4) && [ -n "$url" ]; do
    kill -0 "$server" 2>/dev/null || fail "the $title start ended: $(cat "$work/output")"
    sleep 0.1
  done
  echo "fresh clone: the $title start answers on $url after $((SECONDS - began)) s"
}

chat() {
  local body='{"messages":[{"role":"user","content":"What is the capital of France?"}],"model":"SmolLM2-135M-Instruct"}'
  local answer
  answer=$(curl -sS "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$body")
  case "$answer" in
    *Paris*) ;;
    *) fail "the answer is not Paris: $answer" ;;
  esac
}

stop() {
  [ -n "$server" ] || return 0
  kill "$server"
  wait "$server" || true
  server=
  ! curl -s -o /dev/null "$url/health" || fail "the server still answers after it was stopped"
}

fail() {
  echo "fresh clone: $1" >&2
  exit 1
}

main
