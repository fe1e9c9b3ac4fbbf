#!/bin/sh
# Evaluate the six bench routers as one suite: results.md here, the HTML report in exports/.
# Usage: recipes/suite/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
NEED_ROUTERS=1
. recipes/bench/tables.sh
python -m zooter_lite.evaluate --suite recipes/suite/suite.toml --data "$data" \
  --report exports/suite.html --json exports/suite.json
python -m recipes.suite.write exports/suite.json
