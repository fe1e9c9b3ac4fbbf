#!/bin/sh
# Measure the LiteLLM plugin: sessions, latency, faults. Needs exports/litellm/.venv.
# Usage: recipes/litellm/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
TABLES=zeroeval
. recipes/bench/tables.sh
mkdir -p exports/litellm-runs
held=exports/litellm-runs/held.parquet test=exports/litellm-runs/test
default=exports/litellm-runs/default
python -m recipes.litellm.sessions divide "$data/zeroeval.parquet" "$held"
python -m zooter_lite.fit --encoder static --data "$held" --out exports/litellm-runs/held
python -m zooter_lite.fit --encoder static --data "$data/zeroeval.parquet" --out "$test"
python -m zooter_lite.fit --data "$data/zeroeval.parquet" --out "$default"
python -m recipes.litellm.sessions exports/litellm-runs/held "$held" valid
python -m recipes.litellm.sessions "$test" "$data/zeroeval.parquet"
python -m recipes.litellm.load latency "$test" "$data/zeroeval.parquet"
python -m recipes.litellm.load latency "$default" "$data/zeroeval.parquet"
python -m recipes.litellm.load faults "$test" "$data/zeroeval.parquet"
