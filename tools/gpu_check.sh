#!/bin/sh
# Checks on a GPU that a config and its conversion train the same, and measures both: losses, memory, speed.
#
#     tools/gpu_check.sh [CASE...]
#
# Needs Python 3.11 and 3.12, an NVIDIA driver, and some 20 GB. With a folder `wheels` beside the checkout (or WHEELS=DIR)
# it needs no network. Fill that folder on a machine that has one, with the same Pythons:
#
#     tools/gpu_check.sh --fill
#
# DEVICE=cpu runs the same without a GPU, to try this script: that is no check of a GPU, and it says so.
# Others: STEPS (20), JSON (gpu_check.json), PYTHON (python3; where it lacks what ftmigrate needs, that is put into
# `.gpu_check` in the checkout).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
wheels=${WHEELS:-$root/../wheels}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

locks="torchtune-0.6.1:3.11 axolotl-0.21.0:3.12"
filling=false
[ "${1:-}" != --fill ] || filling=true
more=
if $filling; then
    mkdir -p "$wheels"
    # not every release has a wheel: those that have none are built from their source
    "$python" -m pip wheel --wheel-dir "$wheels" "$root"
elif [ "$device" = cuda ]; then
    nvidia-smi -L >/dev/null 2>&1 || { echo "there is no GPU that a CUDA driver sees: nothing was checked" >&2; exit 2; }
    more=--gpu
else
    echo "DEVICE=$device: this tries the script, it is NO check of a GPU" >&2
fi
if ! $filling && [ -d "$wheels" ]; then
    echo "installing from $wheels, without a network" >&2
    export PIP_NO_INDEX=1 PIP_FIND_LINKS="$wheels" UV_NO_INDEX=1 UV_FIND_LINKS="$wheels"
elif ! $filling; then
    echo "there is no folder $wheels: packages come from the index" >&2
fi
if ! "$python" -c "import ftmigrate.api" 2>/dev/null; then
    "$python" -m venv "$root/.gpu_check"
    python=$root/.gpu_check/bin/python
    # from the folder of wheels the built one, which needs nothing to build it with
    if [ -d "$wheels" ]; then "$python" -m pip install -q --find-links "$wheels" ftmigrate; else "$python" -m pip install -q "$root"; fi
fi
if $filling; then
    for lock in $locks; do
        wanted="import sys; from ftmigrate.verify.pythons import find_python; print(find_python(sys.argv[1:]))"
        list=$root/ftmigrate/verify/locks/${lock%:*}-load.txt
        "$("$python" -c "$wanted" "${lock#*:}")" -m pip wheel --no-deps --wheel-dir "$wheels" -r "$list"
    done
    echo "$wheels is filled: copy it beside the checkout of the machine with the GPU"
    exit 0
fi

for lock in $locks; do
    name=${lock%:*}
    "$python" -m ftmigrate env create "${name%%-*}@${name#*-}" $more >&2
done
unset FTMIGRATE_PYTHON_TORCHTUNE FTMIGRATE_PYTHON_AXOLOTL
json=${JSON:-gpu_check.json}
"$python" "$root/tools/gpu_check.py" --device "$device" --steps "${STEPS:-20}" --json "$json" "$@" || status=$?
echo "the figures are in $json" >&2
exit "${status:-0}"
