# Sourced by recipes that read the real reward tables: sets `tables`, and `data` from the first
# argument; leaves where a table is missing. With NEED_ROUTERS, exports/bench-<table> must be there.
export HF_HUB_OFFLINE=1
tables=${TABLES-routerdc mmlu_pro llmrouter code_tags bfcl zeroeval}
data=${1:-../shared/data}
for table in $tables; do
  if [ ! -f "$data/$table.parquet" ]; then
    echo "skipped: $data/$table.parquet is not there (the tables are not part of this repository)" >&2
    exit 0
  fi
  if [ -n "${NEED_ROUTERS-}" ] && [ ! -f "exports/bench-$table/router.onnx" ]; then
    echo "exports/bench-$table is missing: run recipes/bench/quality.sh first" >&2
    exit 2
  fi
done
