#!/bin/sh
# Fit with default settings on each real reward table, evaluate, and write the results table.
# Usage: recipes/bench/quality.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
for table in $tables; do
  python -m zooter_lite.fit --data "$data/$table.parquet" --out "exports/bench-$table"
done
python -m zooter_lite.evaluate --router exports/bench-routerdc --data "$data/routerdc.parquet" \
  --split ood --subsets math_prealgebra,mbpp,ceval --json exports/bench-routerdc-ood.json
python -m recipes.bench.quality exports
