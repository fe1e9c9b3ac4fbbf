#!/bin/sh
# Run a command while the LLM is served at http://127.0.0.1:8012/v1, and stop the server after it.
# Usage: recipes/llm/with.sh COMMAND [ARGUMENT]...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
said=$(mktemp)
"$here/serve.sh" 8012 >"$said" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -f "$said"' EXIT
trap 'exit 130' INT TERM
until grep -q '^http' "$said"; do
  kill -0 "$server" 2>/dev/null || { echo "the server ended before it answered" >&2; exit 1; }
  sleep 0.2
done
"$@"
