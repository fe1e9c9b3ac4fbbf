#!/bin/sh
# Time routing beside the raw session, sentence-transformers and four peers; write results.md and
# results.svg. Needs zooter-lite[fit] as `python` and a fitted router.
# Usage: recipes/bench/speed/run.sh [--work FOLDER] [--router DIR] [--static DIR] [--data FOLDER]
#                                   [--no-peers] [--quick]
# The environments are made once in the work folder (default: the user's cache, about 6.5 GB).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
export HF_HUB_OFFLINE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

work=${XDG_CACHE_HOME:-$HOME/.cache}/zooter-lite/bench-speed
peers=yes
previous=
for argument in "$@"; do
  case $argument in
    --work=*) work=${argument#--work=} ;;
    --no-peers) peers=no ;;
  esac
  if [ "$previous" = --work ]; then work=$argument; fi
  previous=$argument
done
mkdir -p "$work"

# An environment of exactly the packages of a requirements file, made again when the file changes.
environment() {
  if ! cmp -s "$2" "$work/$1/installed.txt"; then
    echo "installing $1 into $work/$1 (once)" >&2
    rm -rf "${work:?}/$1"
    python -m venv "$work/$1"
    "$work/$1/bin/python" -m pip install -qq --no-deps -r "$2"
    cp "$2" "$work/$1/installed.txt"
  fi
}

if [ "$peers" = yes ]; then
  for peer in setfit routellm adaptive-classifier semantic-router; do
    environment "$peer" "$here/requirements-$peer.txt"
  done
fi

# The base install, without extras, of the tree as it is now; built from a copy, away from here.
if ! cmp -s constraints.txt "$work/base/installed.txt"; then
  rm -rf "$work/base"
  python -m venv "$work/base"
fi
rm -rf "$work/source"
mkdir "$work/source"
cp -r zooter_lite pyproject.toml setup.py README.md LICENSE "$work/source"
"$work/base/bin/python" -m pip install -qq --force-reinstall --no-deps "$work/source"
"$work/base/bin/python" -m pip install -qq -c constraints.txt "$work/source"
cp constraints.txt "$work/base/installed.txt"

exec python -m recipes.bench.speed.run --work "$work" "$@"
