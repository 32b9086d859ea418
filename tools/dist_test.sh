#!/usr/bin/env bash
# Test on several processes, one a GPU (or several on the CPU, by gloo):
#   bash tools/dist_test.sh CONFIG CHECKPOINT NUMBER_OF_PROCESSES [flags of test.py]
# On several machines start it on each, with the same arguments and
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=<first machine> PORT=29500
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: bash $0 CONFIG CHECKPOINT NUMBER_OF_PROCESSES" \
        "[flags of test.py]" >&2
    exit 2
fi
ARGS=("$1" "$2")
PROCESSES=$3
shift 3
TOOLS=$(cd "$(dirname "$0")" && pwd)

PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$TOOLS/test.py" "${ARGS[@]}" --launcher pytorch "$@"
