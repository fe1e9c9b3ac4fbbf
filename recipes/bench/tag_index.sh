#!/bin/sh
# Recall, speed, size and build time of the tag index at 10,000, 100,000 and 1,000,000 queries.
# Needs about 5 GiB of memory and the real reward tables.
# Usage: recipes/bench/tag_index.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
data=${1:-../shared/data}
for table in routerdc mmlu_pro llmrouter code_tags; do
  if [ ! -f "$data/$table.parquet" ]; then
    echo "skipped: $data/$table.parquet is not there (the tables are not part of this repository)" >&2
    exit 0
  fi
done
python -m recipes.bench.tag_index "$data"
