#!/bin/sh
# What a static encoder loses in reward and gains in speed, beside the default encoder with the
# same settings, on the four real tables. First recipes/bench/quality.sh, which fits the routers
# exports/bench-<table>; those with the static encoder are fitted here where they are missing.
# Usage: recipes/bench/static.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_OFFLINE=1
data=${1:-../shared/data}
for table in routerdc mmlu_pro llmrouter code_tags; do
  if [ ! -f "$data/$table.parquet" ]; then
    echo "skipped: $data/$table.parquet is not there (the tables are not part of this repository)" >&2
    exit 0
  fi
  if [ ! -f "exports/bench-$table/router.onnx" ]; then
    echo "exports/bench-$table is missing: run recipes/bench/quality.sh first" >&2
    exit 2
  fi
done
for table in routerdc mmlu_pro llmrouter code_tags; do
  if [ ! -f "exports/bench-$table-static/router.onnx" ]; then
    python -m zooter_lite.fit --data "$data/$table.parquet" --encoder static \
      --out "exports/bench-$table-static"
  fi
done
exec python -m recipes.bench.static "$data" exports
