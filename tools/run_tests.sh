#!/usr/bin/env bash
# Set the environment up and run all checks in it; the last line is pytest's.
#   bash tools/run_tests.sh [--stack onedl|upstream] [pytest arguments]
set -euo pipefail

stack=onedl
case ${1:-} in
    -h | --help)
        echo 'usage: bash tools/run_tests.sh [--stack onedl|upstream] [pytest arguments]'
        exit 0
        ;;
    --stack)
        stack=${2:?--stack needs a value: onedl or upstream}
        shift 2
        ;;
    --stack=*) stack=${1#*=}; shift ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
deploy=()
[ "$stack" = upstream ] || deploy=(--deploy) # tested with the one stack
bash tools/setup_env.sh --stack "$stack" --dev "${deploy[@]}"
venv=.venv
[ "$stack" = onedl ] || venv=.venv-$stack
bin=$PWD/$venv/bin
export PATH=$bin:$PATH # for the scripts that the tests start
unset PYTHONPATH PYTHONHOME
unset PYTHONDONTWRITEBYTECODE # each process would compile all tests again

say() { printf '\n== %s\n' "$*"; }
if [ "$stack" = onedl ]; then # the sources are the same for both
    # mypy takes half a minute without its cache: on the second core
    mkdir -p work_dirs
    "$bin/mypy" >work_dirs/mypy.txt 2>&1 &
    mypy=$!
    trap 'kill $mypy 2>/dev/null' EXIT
fi
say 'environment'
"$bin/python" -m mnv2_mm.check
if [ "$stack" = onedl ]; then
    say 'style, spelling, import direction, types'
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    "$bin/codespell"
    "$bin/lint-imports" --no-cache
    wait $mypy || { code=$?; cat work_dirs/mypy.txt; exit $code; }
    cat work_dirs/mypy.txt
fi
say 'tests'
# a process a core, with one thread each; a later -n counts
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$bin/python" -m pytest -n 2 --dist worksteal "$@"
