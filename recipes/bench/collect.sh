#!/bin/sh
# collect killed 50 times against a server that misbehaves; then its speed, CPU and memory beside
# a bare HTTP client. Writes recipes/bench/collect.md. Usage: recipes/bench/collect.sh
set -eu
cd "$(dirname "$0")/../.."
exec python -m recipes.bench.collect_speed
