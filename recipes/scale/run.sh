#!/bin/sh
# Everything about routing at scale: ten million prompts, thirty kills, growth, capacity.
# Needs the [fit] and [report] extras, 2 GB of disk and about half an hour on two idle cores.
# Usage: recipes/scale/run.sh [ROUTER-DIRECTORY]   (default: exports/sample, as make quickstart leaves it)
set -eu
cd "$(dirname "$0")/../.."
router=${1:-exports/sample}
static=exports/scale/static
[ -d "$static" ] || python -m zooter_lite.fit --encoder static --out "$static"
python -m recipes.scale.route "$static" 10000000 recipes/scale/route.md recipes/scale/memory.svg
python -m recipes.scale.route "$router" 20000 recipes/scale/route-minilm.md --raw-rows 8000 --raw-tokens 512
python -m recipes.scale.kills "$static" 1000000 30 recipes/scale/kills.md
python -m recipes.scale.batch_files "$static" 50000 10 recipes/scale/batch_files.md
python -m recipes.scale.growth "$router" "$static" recipes/scale/growth.json
python -m recipes.scale.capacity recipes/scale/growth.json recipes/scale/capacity.md
