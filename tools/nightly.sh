#!/usr/bin/env bash
# What takes too long for .ci/run, with the real frameworks (FTMIGRATE_PYTHON_TORCHTUNE and FTMIGRATE_PYTHON_AXOLOTL, or the
# environments of `ftmigrate env create`). The tables that it makes anew are committed: `git diff` shows what changed.
#
#     tools/nightly.sh [fuzz] [properties] [mutation] [trained] [kinds] [referee]    # all by default
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
run() {
    printf '\n== %s (%s)\n' "$1" "$(date -u +%T)"
    "${@:2}" || { echo "$1: FAILED" && failed=1; }
}

[ $# -gt 0 ] || set -- fuzz properties mutation trained kinds referee
for step in "$@"; do
    case $step in
    fuzz) run "$step" python tools/fuzz_lint.py --count 100000 ;;
    properties) run "$step" env FTMIGRATE_HYPOTHESIS=nightly pytest -n auto -q -m hypothesis ;;
    mutation) run "$step" env FTMIGRATE_MUTATION_STEP=1 pytest -n auto -q tests/test_mutation.py ;;
    trained) run "$step" python tools/train_cases.py ;;
    kinds) run "$step" python tools/verify_kinds.py ;;
    referee) run "$step" python tools/referee.py ;;
    *) echo "no step $step" >&2 && exit 2 ;;
    esac
done
run "what the tables say" pytest -q tests/test_exact.py tests/test_verify_kinds.py tests/test_referee.py
git --no-pager diff --stat -- tests ftmigrate
exit $failed
