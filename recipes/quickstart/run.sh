#!/bin/sh
# Fit on the bundled sample, then route a few prompts. Offline; needs zooter-lite[fit].
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_OFFLINE=1

python -m zooter_lite.fit --out exports/sample

python -m zooter_lite.route --router exports/sample --force \
  --input recipes/quickstart/prompts.csv --output exports/quickstart.csv
echo
echo "recipes/quickstart/prompts.csv, routed to exports/quickstart.csv:"
python -m recipes.quickstart.show exports/quickstart.csv
echo
echo "model card: exports/sample/README.md    picture: exports/sample/report.svg"
