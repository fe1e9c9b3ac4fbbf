#!/bin/sh
# Hide training rewards of the real tables and refit; add held-out experts with a few rewards.
# Usage: recipes/partial/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
exec python -m recipes.partial.measure "$data"
