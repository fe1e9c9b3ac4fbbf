#!/bin/sh
# Agreement, latency, cold start and size of the consumers in exports/, in one run on this machine.
# Writes the table in exports/README.md. Needs node, chromium and `npm install` in exports/node
# and exports/browser. Usage: recipes/bench/consumers.sh [ROUTER-DIRECTORY]   (default: exports/sample)
set -eu
cd "$(dirname "$0")/../.."
exec python -m recipes.bench.consumers "${1:-exports/sample}"
