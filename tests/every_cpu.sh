#!/usr/bin/env bash
# Run the tests with the instructions of other processors and with two threads, one line a setting.
# The rounding differs from setting to setting, and what the tests assert must not.
# Arguments go to pytest: `tests/every_cpu.sh tests/planning`. PYTHON chooses the interpreter.
# A passive thread leaves its core to others while it waits: tests start processes of their own.
set -uo pipefail
cd "$(dirname "$0")/.."

settings=(
    "ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1"
    "ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive"
    "ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1"
    "OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive"
)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
for setting in "${settings[@]}"; do
    # shellcheck disable=SC2086 # a setting is several words
    if env $setting "${PYTHON:-.venv/bin/python}" -m pytest -q "$@" >"$log" 2>&1; then
        echo "$setting: $(tail -n 1 "$log")"
    else
        status=1
        cat "$log"
        echo "$setting: FAILED, see above"
    fi
done
exit $status
