#!/bin/sh
# What int8 and the static encoder lose against fp32 on the test rows of the real tables.
# First recipes/bench/quality.sh, which fits the routers exports/bench-<table>;
# bench-<table>-static takes part where it is.
# Usage: recipes/bench/precision.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
NEED_ROUTERS=yes
. recipes/bench/tables.sh
exec python -m recipes.bench.precision "$data" exports
