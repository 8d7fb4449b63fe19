#!/bin/bash
# One job on two simulated machines: two network namespaces with an address each and a cable between them, so that
# nothing is reached through shared loopback. Needs root and iproute2; all traffic stays inside, and all of it is
# removed in the end.
#
#     tools/two_nodes.sh script.py arguments...
#
# runs script.py by torchrun on both, one process each, on CPUs (the script's Trainer sees two processes). PYTHON is the
# interpreter.
set -euo pipefail

PYTHON=${PYTHON:-python}
NAME=hfd$$
nodes=("$NAME-0" "$NAME-1")

clean() {
    kill "${jobs[@]}" 2>/dev/null || true
    for node in "${nodes[@]}"; do ip netns delete "$node" 2>/dev/null || true; done
}
jobs=()
trap clean EXIT

for node in "${nodes[@]}"; do ip netns add "$node"; done
ip -n "${nodes[0]}" link add cable type veth peer name cable netns "${nodes[1]}"
for i in 0 1; do
    ip -n "${nodes[$i]}" address add 10.213.0.$((i + 1))/24 dev cable
    ip -n "${nodes[$i]}" link set lo up
    ip -n "${nodes[$i]}" link set cable up
done

is_host=(true false) # of the rendezvous; torchrun would ask the host's name, which knows nothing of these addresses
for i in 0 1; do
    ip netns exec "${nodes[$i]}" env ACCELERATE_USE_CPU=1 OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME=cable \
        "$PYTHON" -m torch.distributed.run --nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_id "$NAME" \
        --rdzv_endpoint 10.213.0.1:29400 --rdzv_conf "is_host=${is_host[$i]}" --local_addr 10.213.0.$((i + 1)) "$@" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
