#!/bin/sh
# Refit the heads of the six bench routers otherwise, and reword prompts: results.md here.
# Usage: recipes/ablations/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
NEED_ROUTERS=1
. recipes/bench/tables.sh
exec python -m recipes.ablations.ablate recipes/suite/suite.toml "$data"
