#!/bin/sh
# Fine-tune on a third of the bundled sample in one process, in two, and in parts; writes
# recipes/finetune/results.md. On the CPU; needs no data. Usage: recipes/finetune/run.sh
set -eu
cd "$(dirname "$0")/../.."
exec python -m recipes.finetune.measure
