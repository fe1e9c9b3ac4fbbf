#!/bin/sh
# Compare ways of fitting the head on the training rows of real tables; writes results.md,
# words.md and layers.md.
# No test row is read. Usage: recipes/quality/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
python -m recipes.quality.variants "$data"
python -m recipes.quality.words "$data"
exec python -m recipes.quality.layers "$data"
