#!/bin/sh
# Time and memory of a fit at 10,000, 100,000 and 1,000,000 rows by 20 experts, without a GPU.
# Needs 4 GB of disk, GNU time and an hour or more: fit.md has what was measured.
# Usage: recipes/scale/fit.sh [WORK-FOLDER]
set -eu
cd "$(dirname "$0")/../.."
work=${1:-$(mktemp -d)}
export ZOOTER_CACHE="$work/cache" HF_HUB_OFFLINE=1
for rows in 10000 100000 1000000; do
  table="$work/table-$rows.parquet"
  [ -f "$table" ] || python -m recipes.scale.table --rows "$rows" --out "$table"
  /usr/bin/time -v python -m zooter_lite.fit --encoder static \
    --data "$table" --out "$work/router-$rows" >"$work/fit-$rows.log" 2>&1
  echo "$rows rows:"
  grep -E "^\| (router|best single) |^chosen|^time:|Elapsed|User time|Maximum resident" "$work/fit-$rows.log"
done
