#!/bin/sh
# Decisions and mean reward of every precision on the test rows of the four real tables, beside
# torch (sentence-transformers and the head in numpy). First recipes/bench/quality.sh, which fits
# the routers exports/bench-<table>; bench-<table>-static takes part where it is.
# Usage: recipes/bench/precision.sh [FOLDER-WITH-THE-TABLES]
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
exec python -m recipes.bench.precision "$data" exports
