#!/usr/bin/env bash
# Ask the LLM experts every prompt anew, and keep what they said in responses.jsonl.gz. Stopped,
# it goes on where it was. Needs zooter-lite[experts,pocket] as `python`; then run run.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=exports/pocket-llm
python -m recipes.pocket.responses prompts "$folder"
recipes/llm/with.sh python -m zooter_lite.collect --queries "$folder/prompts.jsonl" \
  --experts recipes/pocket/experts.toml --out "$folder"
python -m recipes.pocket.responses keep "$folder"
