#!/usr/bin/env bash
# Local engine and Ray, 1 and 2 workers; then two nodes in network namespaces (root, iproute2).
# Writes recipes/ray/results.md.
#
#   recipes/ray/run.sh [ROUTER] [ROWS]
set -euo pipefail
cd "$(dirname "$0")/../.."
router=${1:-exports/sample}
rows=${2:-3000}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
{
  echo "# Routing on Ray: results"
  echo
  echo "Written by \`recipes/ray/run.sh ROUTER $rows\`, with a router of the default encoder."
  echo
  echo "## One machine"
  echo
  python -m recipes.ray.measure "$router" "$rows"
  echo
  echo "## Two nodes in network namespaces, one killed"
  echo
  echo '```'
  recipes/ray/namespaces.sh "$router" "$((rows / 2))" 2>&1
  echo '```'
} >"$out"
cp "$out" recipes/ray/results.md
