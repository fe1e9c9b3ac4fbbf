#!/usr/bin/env bash
# Rebuild the bundled sample. Run from the repository root.
set -euo pipefail
python -m recipes.pocket.build --output zooter_lite/table/sample.jsonl.gz --seed 0
