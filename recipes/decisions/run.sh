#!/bin/sh
# Measure what decisions earn and cost: points, budgets, guard, doubt, and the rule of `match`.
# Usage: recipes/decisions/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
exec python -m recipes.decisions.measure "$data"
