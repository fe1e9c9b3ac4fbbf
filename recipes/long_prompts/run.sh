#!/bin/sh
# Read more of prompts that are longer than the encoder's window; compare on train, then on test.
# Usage: recipes/long_prompts/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
exec python -m recipes.long_prompts.measure "$data"
