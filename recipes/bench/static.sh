#!/bin/sh
# What a static encoder loses in reward and gains in speed, beside the default encoder with the
# same settings, on the real tables. First recipes/bench/quality.sh, which fits the routers
# exports/bench-<table>; those with the static encoder are fitted here where they are missing.
# Usage: recipes/bench/static.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
NEED_ROUTERS=yes
. recipes/bench/tables.sh
for table in $tables; do
  if [ ! -f "exports/bench-$table-static/router.onnx" ]; then
    python -m zooter_lite.fit --data "$data/$table.parquet" --encoder static \
      --out "exports/bench-$table-static"
  fi
done
exec python -m recipes.bench.static "$data" exports
