#!/bin/sh
# How well tags by nearest tagged queries match real tags; writes recipes/tagging/results.md.
# Usage: recipes/tagging/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
data=${1:-../shared/data}
if [ ! -f "$data/code_tags.parquet" ]; then
  echo "skipped: $data/code_tags.parquet is not there (the tables are not part of this repository)" >&2
  exit 0
fi
exec python -m recipes.tagging.measure "$data/code_tags.parquet"
