#!/usr/bin/env bash
# Two nodes of a Ray cluster on one Linux machine, each in a network namespace of its own, that
# share no address and not the input: routes a file with both, again with one of them killed on
# the way, and compares the outputs with that of the local engine. Needs root, and iproute2.
#
#   recipes/ray/namespaces.sh ROUTER [ROWS]
set -euo pipefail
cd "$(dirname "$0")/../.."
router=${1:?usage: recipes/ray/namespaces.sh ROUTER [ROWS]}
rows=${2:-4000}
work=$(mktemp -d)
export RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 HF_HUB_OFFLINE=1
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
unset RAY_ADDRESS

in_head() { ip netns exec zooter-head "$@"; }
end_of() { ip netns pids "$1" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true; }
clean() {
  for name in zooter-node zooter-head; do
    end_of "$name"
    ip netns del "$name" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean EXIT

for name in zooter-head zooter-node; do
  ip netns add "$name"
  ip -n "$name" link set lo up
done
ip link add zooter0 netns zooter-head type veth peer name zooter0 netns zooter-node
ip -n zooter-head addr add 10.77.0.1/24 dev zooter0
ip -n zooter-node addr add 10.77.0.2/24 dev zooter0
for name in zooter-head zooter-node; do ip -n "$name" link set zooter0 up; done

start_node() {  # with an empty folder in the place of the input, and of the head's files
  ip netns exec zooter-node unshare --mount sh -c "
    mkdir -p /tmp/ray
    mount -t tmpfs none /tmp/ray
    mount -t tmpfs none '$work'
    exec ray start --address 10.77.0.1:6379 --node-ip-address 10.77.0.2 --num-cpus 1 --block
  " >"$work/node.log" 2>&1 &
  disown
}
nodes() {
  in_head python -c "
import logging, ray
ray.init('10.77.0.1:6379', logging_level=logging.CRITICAL, log_to_driver=False)
print(sum(node['Alive'] for node in ray.nodes()))" 2>/dev/null
}
workers_of() { ip netns pids "$1" | xargs -r ps -o time=,args= -p | grep "MapWorker" || true; }
route() {
  in_head python -m zooter_lite.route --router "$router" --input "$work/in.csv" \
    --output "$work/$1.csv" --block 8 --engine ray --ray-address 10.77.0.1:6379 --workers 2
}

python -m recipes.scale.prompts "$rows" "$work/in.csv"
echo "== local engine"
python -m zooter_lite.route --router "$router" --input "$work/in.csv" --output "$work/local.csv" \
  --block 8 --workers 2

in_head ray start --head --node-ip-address 10.77.0.1 --port 6379 --num-cpus 1 \
  --include-dashboard false >"$work/head.log" 2>&1
start_node
for _ in $(seq 30); do
  [ "$(nodes)" = 2 ] && break
  [ -n "$(ip netns pids zooter-node)" ] || { cat "$work/head.log" "$work/node.log"; exit 1; }
  sleep 1
done

half=$(($(stat -c %s "$work/local.csv") / 2))
so_far() { stat -c %s "$work/.$1.csv.partial" 2>/dev/null || echo 0; }

echo "== two nodes"
route both &
until [ "$(so_far both)" -gt "$half" ]; do sleep 0.2; done
for name in zooter-head zooter-node; do echo "$name: $(workers_of "$name")"; done
wait $!
cmp "$work/local.csv" "$work/both.csv" && echo "identical output"

echo "== two nodes, one of them killed half way"
route killed &
job=$!
until [ "$(so_far killed)" -gt "$half" ]; do sleep 0.2; done
for name in zooter-head zooter-node; do echo "$name: $(workers_of "$name")"; done
end_of zooter-node
echo "node killed after $(so_far killed) of $(stat -c %s "$work/local.csv") bytes"
wait "$job"
echo "nodes left: $(nodes)"
cmp "$work/local.csv" "$work/killed.csv" && echo "identical output"
