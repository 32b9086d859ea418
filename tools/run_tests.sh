#!/usr/bin/env bash
# Set the environment up and run all checks in it; the last line is pytest's.
#   bash tools/run_tests.sh [--stack onedl|upstream] [pytest arguments]
# With MNV2_OPS_WHEELS, a folder with a wheel of mmcv, the tests that use its ops run
# with the compiled ones too.
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
# Thousands of small files: in memory, if it has room for them (1.1 GB in a run) and runs
# programs (that of a container may not), since a disk takes five times as long
scratch=$(mktemp -d)
trap 'kill ${mypy:-} 2>/dev/null || true; rm -rf "$scratch" ${memory:-}' EXIT
free=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1) || free=0
if [ "$free" -gt 4000000 ] && memory=$(mktemp -d -p /dev/shm 2>/dev/null) &&
    cp /bin/sh "$memory" && "$memory/sh" -c : 2>/dev/null; then
    rmdir "$scratch"
    scratch=$memory
fi
export TMPDIR=$scratch
# a process a core, with one thread each; a later -n counts
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ "$stack" = onedl ]; then # the sources are the same for both
    # mypy takes half a minute without its cache: on the second core, also beside the
    # first tests
    "$bin/mypy" >"$TMPDIR/mypy.txt" 2>&1 &
    mypy=$!
fi
say 'environment'
"$bin/python" -m mnv2_mm.check
if [ "$stack" = onedl ]; then
    say 'style, spelling, import direction; types beside the tests, printed if wrong'
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    "$bin/codespell"
    "$bin/lint-imports" --no-cache
fi
if [ -n "${MNV2_OPS_WHEELS:-}" ]; then
    say 'tests that use the ops of mmcv, with compiled ones'
    mmcv=mmcv
    [ "$stack" = upstream ] || mmcv=onedl-mmcv
    if "$bin/python" -m pip install -q --no-index --no-deps --only-binary :all: \
        --find-links "$MNV2_OPS_WHEELS" -c "requirements/constraints-$stack.txt" \
        --no-compile --target "$TMPDIR/compiled" $mmcv; then
        # mmcv of the wheel comes before that of the environment; one process, since
        # mypy has the other core and the imports take as long as the tests
        PYTHONPATH=$TMPDIR/compiled "$bin/python" -m pytest tests/ops tests/models/ssdlite
    else
        echo 'skipped: no wheel there fits this Python'
    fi
fi
say 'tests'
code=0
"$bin/python" -m pytest -n 2 --dist worksteal "$@" || code=$?
if [ "$stack" = onedl ] && ! wait $mypy; then
    say 'types'
    cat "$TMPDIR/mypy.txt"
    code=1
fi
exit $code
