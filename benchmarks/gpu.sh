#!/usr/bin/env bash
# Measure on one GPU, in at most 8 minutes: correctness, plans, training steps, a peer (README.md).
#
#     benchmarks/gpu.sh                    # rows are appended to results/gpu.jsonl
#     benchmarks/gpu.sh --tiny             # the same on a CPU with tiny sizes: does it run?
#
# PYTHON names the interpreter; COMMIT what is measured, where the folder is no git repository.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
exec "${PYTHON:-python3}" benchmarks/gpu/run.py "$@"
