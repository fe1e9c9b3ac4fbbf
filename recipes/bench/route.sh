#!/bin/sh
# Rows per second and peak memory of `route` on 10,000 and 100,000 generated rows.
# Usage: recipes/bench/route.sh [ROUTER-DIRECTORY]   (default: exports/sample, as make quickstart leaves it)
set -eu
cd "$(dirname "$0")/../.."
exec python -m recipes.bench.route "${1:-exports/sample}"
