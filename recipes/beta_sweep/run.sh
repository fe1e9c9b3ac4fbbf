#!/bin/sh
# Sweep the sample share beta and hard labels on two real tables.
# Usage: recipes/beta_sweep/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
exec python -m recipes.beta_sweep.sweep "${1:-../shared/data}"
