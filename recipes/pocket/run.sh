#!/usr/bin/env bash
# Rebuild the bundled sample. Run from the repository root.
set -euo pipefail
python -m recipes.pocket.build --output zooter_lite/data/sample.jsonl.gz --seed 0
