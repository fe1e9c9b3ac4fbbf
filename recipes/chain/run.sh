#!/bin/sh
# Every command of README.md on a real LLM over HTTP; writes results.md with the time of each.
# Needs zooter-lite[experts,fit,pocket] as `python`; the LLM gets an environment of its own.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_OFFLINE=1
rm -rf exports/chain
mkdir -p exports/chain
recipes/llm/with.sh python -m recipes.chain.steps recipes/chain/results.md
