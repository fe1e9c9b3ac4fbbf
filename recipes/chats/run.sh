#!/bin/sh
# Turn test prompts into chats, and route them by their last turn or by all turns.
# Usage: recipes/chats/run.sh [FOLDER-WITH-THE-TABLES]
set -eu
cd "$(dirname "$0")/../.."
. recipes/bench/tables.sh
exec python -m recipes.chats.measure "$data"
