#!/bin/sh
# Decisions and mean reward of every precision on the test rows of the four real tables, beside
# torch (sentence-transformers and the head in numpy). First recipes/bench/quality.sh, which fits
# the routers exports/bench-<table>; bench-<table>-static takes part where it is.
# Usage: recipes/bench/precision.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
NEED_ROUTERS=yes
. recipes/bench/tables.sh
exec python -m recipes.bench.precision "$data" exports
