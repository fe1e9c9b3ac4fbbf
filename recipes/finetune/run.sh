#!/bin/sh
# Fine-tune on a third of the bundled sample in one process and in two; writes
# recipes/finetune/results.md. On the CPU; needs no data. Usage: recipes/finetune/run.sh
set -eu
cd "$(dirname "$0")/../.."
exec python -m recipes.finetune.measure
