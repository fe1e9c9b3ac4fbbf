#!/bin/sh
# Recall, speed, size and build time of the tag index at 10,000, 100,000 and 1,000,000 queries.
# Needs about 5 GiB of memory and the real reward tables.
# Usage: recipes/bench/tag_index.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
python -m recipes.bench.tag_index "$data"
