#!/usr/bin/env bash
# Make or repair the virtual environment of this repository. `--help` says how.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: bash tools/setup_env.sh [--stack onedl|upstream] [--venv DIR]
                               [--python PY] [--compile-ops] [--dev] [--deploy]

Makes a virtual environment with torch, the OpenMMLab packages and this one,
in exact versions (requirements/constraints-*.txt). Safe to run again: what is
there is kept, what is missing or half-installed is repaired. No compiler is
needed: where there is no mmcv with compiled ops, stand-ins in plain torch serve.
Installs with uv where it is there or can be installed, else with pip.

  --stack onedl     the maintained onedl-* packages, in .venv (default)
  --stack upstream  OpenMMLab's own last releases, in .venv-upstream
  --venv DIR        another folder for the environment
  --python PY       the Python to use, 3.10 to 3.13 (default: the first found)
  --compile-ops     compile the ops of mmcv where no wheel has them: ten minutes on
                    two cores and a C++ compiler. For other ops than NMS,
                    soft-NMS, RoIAlign and focal loss.
  --dev             also pytest, ruff, codespell, hypothesis and the
                    interpreter of TFLite files
  --deploy          also mmdeploy, without what its metadata asks for (which
                    would replace half of the environment), and onnx,
                    onnxslim, onnxruntime and ncnn; with the stack onedl only

Environment variables:
  MNV2_TORCH_ARGS   extra arguments for `pip install torch`, to choose another
                    build: e.g. '--index-url URL' for CPU or a CUDA version.
                    Unset, torch comes from where pip is configured to look,
                    and one that is installed stays.
  PIP_FIND_LINKS    folders with wheels; one of mmcv with compiled ops is used
  MNV2_INSTALLER    'pip': do not use uv
  MAX_JOBS          compilers at a time, when mmcv has to be compiled
EOF
}

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

fail() {
    printf '\nerror: %s\n' "$1" >&2
    exit "${2:-1}"
}

bad_option() {
    printf 'error: %s\n\n' "$1" >&2
    usage >&2
    exit 2
}

# ---------------------------------------------------------------- arguments
stack=onedl venv='' python='' dev=no deploy=no compile=no
while [ $# -gt 0 ]; do
    case $1 in
        --stack=* | --venv=* | --python=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --stack | --venv | --python)
            [ $# -ge 2 ] || bad_option "$1 needs a value"
            case $1 in
                --stack) stack=$2 ;;
                --venv) venv=$2 ;;
                --python) python=$2 ;;
            esac
            shift 2
            ;;
        --compile-ops) compile=yes; shift ;;
        --dev) dev=yes; shift ;;
        --deploy) deploy=yes; shift ;;
        -h | --help) usage; exit 0 ;;
        *) bad_option "unknown option '$1'" ;;
    esac
done
case $stack in
    onedl) folder=.venv mmcv=onedl-mmcv pure=onedl-mmcv other=mmengine ;;
    upstream) folder=.venv-upstream mmcv=mmcv pure=mmcv-lite other=onedl-mmengine ;;
    *) bad_option "unknown stack '$stack': onedl or upstream" ;;
esac
lists=(base "$stack")
[ $dev = no ] || lists+=(dev)
if [ $deploy = yes ]; then
    [ $stack = onedl ] ||
        bad_option '--deploy is tested with --stack onedl alone'
    lists+=(deploy)
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case $venv in
    '') venv=$root/$folder ;;
    /*) ;;
    *) venv=$PWD/$venv ;;
esac
cd "$root"
constraints=$root/requirements/constraints-$stack.txt
# Names in requirements/LIST.txt; mmcv is left out: it is installed last.
names() {
    (cd requirements && cat "${@/%/.txt}") |
        sed 's/#.*//; s/[<>=! ].*//' | grep -vxE "$pure|" | sort -u
}
# For the builds; and what torch needs, since an index that MNV2_TORCH_ARGS
# names holds other versions of it.
base=(setuptools wheel ninja numpy
    filelock fsspec jinja2 networkx sympy typing-extensions)
py=$venv/bin/python
state=$venv/.mnv2_mm # ours: the log, the lock and what was installed
log=$state/setup.log
# Anything found on these would pass for installed in the environment.
unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 PIP_NO_INPUT=1

# ------------------------------------------------------------ running stages
# run TITLE COMMAND...: says TITLE, runs quietly with the output in the log,
# shows a sign of life every half minute and the end of the log on failure.
run() {
    local title=$1 child started=$SECONDS shown=$SECONDS from
    shift
    say "$title"
    printf '\n==== %s\n$ %s\n' "$title" "$*" >>"$log"
    from=$(wc -l <"$log")
    set -m # a process group of its own, so that compilers die with pip
    "$@" >>"$log" 2>&1 </dev/null &
    child=$!
    set +m
    # shellcheck disable=SC2064
    trap "kill -- -$child 2>/dev/null; echo interrupted >&2; exit 130" \
        INT TERM HUP
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - shown >= 30)); then
            shown=$SECONDS
            say "    still at it, $((SECONDS - started)) s$(compiled "$from")"
        fi
    done
    trap - INT TERM HUP
    wait "$child"
}

# How far ninja is in the log after line $1, with an estimate of the rest.
compiled() {
    tail -n "+$1" "$log" | grep -oE '^ *\[[0-9]+/[0-9]+\]' | tail -n 1 |
        tr -d '[] ' | awk -F/ -v spent="$((SECONDS - started))" '{
            left = $1 ? spent * ($2 - $1) / $1 : 0
            printf ", compiled %d of %d files, about %d min left",
                $1, $2, int(left / 60) + 1 }'
}

stage() {
    run "$@" && return
    printf '\n---- the last lines of %s\n' "$log" >&2
    tail -n 25 "$log" >&2
    fail "'$1' failed; the whole log is $log. Run the same command again once
the cause is fixed: what is installed so far is kept."
}

pip_install() {
    "$py" -m pip install --progress-bar off -c "$constraints" "$@"
}

# The same by uv where there is one that succeeds.
install() {
    [ -n "$uv" ] && "$uv" pip install --python "$py" --compile-bytecode \
        -c "$constraints" "$@" && return
    pip_install "$@"
}

# uv takes a quarter of pip's time. It does not read what pip is told about
# indexes, so that is passed on.
find_uv() {
    uv=''
    [ "${MNV2_INSTALLER:-}" != pip ] || return 0
    uv=$(command -v uv || true)
    if [ -z "$uv" ]; then
        [ -x "$venv/bin/uv" ] || run 'uv, a faster installer than pip' \
            "$py" -m pip install --progress-bar off uv || return 0
        uv=$venv/bin/uv
    fi
    local index
    index=$(pip_setting index-url)
    [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX-$index}
    export UV_INDEX=${UV_INDEX-$(pip_setting extra-index-url)}
    export UV_FIND_LINKS=${UV_FIND_LINKS-$(pip_setting find-links | tr ' ' ,)}
    export UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY-unsafe-best-match} UV_LINK_MODE=copy
    export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT-180}
    index=$(pip_setting cert)
    [ -z "$index" ] || export SSL_CERT_FILE=${SSL_CERT_FILE-$index}
}

# What pip is told by the environment or its files, blanks between the values.
pip_setting() {
    local name
    name=PIP_$(tr a-z- A-Z_ <<<"$1")
    if [ -n "${!name+set}" ]; then
        printf '%s' "${!name}"
    else
        "$py" -m pip config get "global.$1" 2>/dev/null || true
    fi | tr -s '\n' ' ' | sed 's/ $//'
}

# ------------------------------------------------------------------- Python
# Why $1 cannot be used, or nothing.
unusable() {
    command -v "$1" >/dev/null 2>&1 || { echo 'not found'; return; }
    "$1" - 2>/dev/null <<'EOF' || echo 'does not start'
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    print('is Python %d.%d' % sys.version_info[:2])
else:
    try:
        import venv, ensurepip
    except ImportError as error:
        print('has no %s module' % error.name)
EOF
}

find_python() {
    local candidate reason reasons=''
    for candidate in ${python:-python3 python3.13 python3.12 python3.11 \
        python3.10 python}; do
        reason=$(unusable "$candidate")
        [ -n "$reason" ] || { python=$candidate; return; }
        reasons+="
  $candidate $reason"
    done
    case $reasons in
        *' module'*) fail "a Python was found, but it cannot make virtual environments:$reasons
Install what your system keeps apart, on Debian and Ubuntu:
  sudo apt-get install python3-venv" ;;
        *) fail "no Python 3.10 to 3.13 was found:$reasons
Install one (Debian and Ubuntu: sudo apt-get install python3 python3-venv;
anywhere: pyenv install 3.11 or conda create -n py311 python=3.11) and name it:
  bash tools/setup_env.sh --python /path/to/python3.11" ;;
    esac
}

# The folder, with its log and lock. What a killed run left running holds the
# lock until it ends.
claim_folder() {
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -d "$state" ] &&
        [ -n "$(ls -A "$venv")" ]; then
        fail "$venv exists and is not a virtual environment; name another
folder with --venv, or remove it."
    fi
    mkdir -p "$state"
    command -v flock >/dev/null 2>&1 || return 0
    exec 9>"$state/lock"
    flock -n 9 && return
    say 'another setup of this environment is running; waiting for it'
    flock 9
}

make_venv() {
    local version reason
    if "$py" -c '' 2>/dev/null; then
        version=$("$py" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        case $version in
            3.10 | 3.11 | 3.12 | 3.13) ;;
            *) fail "$venv is made of Python $version; 3.10 to 3.13 is tested.
Remove it (rm -r '$venv') and run this again." ;;
        esac
        [ -z "$python" ] || reason=$(unusable "$python")
        case ${reason:-} in
            '' | *' module') ;; # modules that only a new environment needs
            *) fail "--python $python $reason; give a Python 3.10 to 3.13" ;;
        esac
        if [ -n "$python" ] && [ "$version" != "$("$python" -c \
            'import sys; print("%d.%d" % sys.version_info[:2])')" ]; then
            fail "$venv is made of Python $version, not of $python.
Remove it (rm -r '$venv') or choose another folder with --venv."
        fi
        return
    fi
    find_python
    # --clear takes away what a killed run left; never a foreign folder
    stage "virtual environment $venv, of $("$python" -V 2>&1)" \
        clear_venv
}

clear_venv() {
    find "$venv" -mindepth 1 -maxdepth 1 ! -path "$state" -exec rm -rf {} +
    "$python" -m venv "$venv"
}

# --------------------------------------------------------------------- mmcv
# Whether the ops load, and serve the GPU where they could be made to.
ops_fit() {
    local code=0
    "$py" - >>"$log" 2>&1 <<'EOF' || code=$?
import sys, torch, mmcv.ops
from mnv2_mm.utils.mmcv_ops import ops_kind
cpu = mmcv.ops.get_compiling_cuda_version() == 'not available'
cpu = cpu and ops_kind() == 'compiled' # the stand-ins serve both
sys.exit(3 if cpu and torch.cuda.is_available() else 0)
EOF
    [ $code = 0 ]
}

have_nvcc() {
    [ -n "${CUDA_HOME:-}" ] || command -v nvcc >/dev/null 2>&1 ||
        [ -x /usr/local/cuda/bin/nvcc ]
}

ops_kind() {
    "$py" -c 'from mnv2_mm.utils.mmcv_ops import ops_kind; print(ops_kind())'
}

# mmcv: with compiled ops where they are there, come in a wheel or are asked for;
# else as pure Python, with the stand-ins.
install_mmcv() {
    local kind lacking wheels=$state/wheels
    kind=$(ops_kind)
    lacking=$("$py" tools/env_state.py lacks "$constraints" $mmcv)
    [ "$kind" = compiled ] && [ -z "$lacking" ] && ops_fit && return
    rm -rf "$wheels"
    if run "$mmcv: looking for a wheel with compiled ops" \
        "$py" -m pip download --no-deps --only-binary :all: \
        -c "$constraints" -d "$wheels" $mmcv; then
        "$py" -m pip uninstall -q -y $mmcv $pure >>"$log" 2>&1
        stage "$mmcv: the wheel with compiled ops" \
            pip_install --no-deps "$wheels"/*.whl
        ops_fit && return
        say "    its ops do not load beside this torch, or lack its GPU"
    fi
    if [ $compile = yes ]; then
        compile_ops
        return
    fi
    if [ "$(ops_kind)" = compiled ]; then # does not load, and would be preferred
        "$py" -m pip uninstall -q -y $mmcv >>"$log" 2>&1
    fi
    # In isolation mmcv finds no torch and builds no ops. No cache may keep this
    # build, which a later --compile-ops would take.
    if [ -n "$("$py" tools/env_state.py lacks "$constraints" $pure)" ]; then
        stage "$pure, as pure Python" install --no-deps --no-cache-dir $pure
    fi
    "$py" -c 'from mnv2_mm.utils.mmcv_ops import add_standin_ops
print(add_standin_ops() or "")' >>"$log" 2>&1
    ops_fit || fail "the stand-ins for the ops of $pure do not load; see the end of $log"
}

compile_ops() {
    local from
    check_compiler
    say "$mmcv: its ops are compiled now against the installed torch, which takes
        about ten minutes on two cores (longer for a GPU), once."
    from=$(wc -l <"$log")
    "$py" -m pip uninstall -q -y $mmcv $pure >>"$log" 2>&1
    stage "$mmcv: compiling" compile_mmcv
    ops_fit && return
    # pip may have reused a build of its cache, made against another torch
    if ! tail -n "+$from" "$log" | grep -q 'Building wheel'; then
        stage "$mmcv: compiling again, pip's cached build is of another torch" \
            compile_mmcv --no-cache-dir --force-reinstall
        ops_fit && return
    fi
    fail "$mmcv is installed but its ops do not load; see the end of $log"
}

compile_mmcv() {
    # -v puts ninja's counter into the log; setup.py reads MMCV_WITH_OPS in
    # upstream's releases, onedl's always builds them
    MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)} \
        pip_install -v --no-deps --no-build-isolation "$@" $mmcv
}

check_compiler() {
    local compiler=${CXX:-c++} header
    command -v "${compiler%% *}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 ||
        fail "$mmcv has to be compiled and there is no C++ compiler ('$compiler').
Install one (Debian and Ubuntu: sudo apt-get install g++; Fedora: sudo dnf
install gcc-c++; conda: conda install cxx-compiler) and run this again, or put
a folder with a fitting $mmcv wheel into PIP_FIND_LINKS."
    header=$("$py" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -e "$header/Python.h" ] ||
        fail "$mmcv has to be compiled and Python's headers are missing
($header/Python.h). Install them (Debian and Ubuntu: sudo apt-get install
python3-dev) and run this again."
    if "$py" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' \
        2>/dev/null && ! have_nvcc; then
        fail "$mmcv has to be compiled for the GPU that torch sees, which needs
nvcc. Install the CUDA toolkit $("$py" -c 'import torch; print(torch.version.cuda)') and set CUDA_HOME to its folder;
or leave --compile-ops out: the stand-ins work on the GPU too."
    fi
}

# ------------------------------------------------------------------- stages
claim_folder
make_venv
# sphinx has no recent release for Python 3.10
[ $dev = no ] || "$py" -c 'import sys; sys.exit(sys.version_info > (3, 11))' ||
    lists+=(docs)
mapfile -t packages < <(names "${lists[@]}")
wanted=("${packages[@]}")
[ $deploy = no ] || wanted+=(mmdeploy) # installed apart
undone=$("$py" tools/env_state.py repair)
[ -z "$undone" ] || say "half-installed, goes in again: ${undone//$'\n'/, }"
"$py" -c 'import importlib.metadata as m, pip; m.version("pip")' 2>/dev/null ||
    stage 'pip' "$py" -m ensurepip --default-pip

# What the result depends on; with nothing changed there is nothing to do.
key=$(cat requirements/*.txt setup.py tools/setup_env.sh mnv2_mm/version.py | cksum)
# Unset, the choice of the last run stands.
torch_args=${MNV2_TORCH_ARGS-$(cat "$state/torch_args" 2>/dev/null || true)}
key+=" $root $torch_args $compile ${PIP_FIND_LINKS:-}"
if [ "$(cat "$state/key" 2>/dev/null)" = "$key" ] &&
    [ -z "$("$py" tools/env_state.py changed "$state/installed.json" 2>&1)" ] &&
    [ -z "$("$py" tools/env_state.py lacks "$constraints" \
        "${base[@]}" torch "${wanted[@]}")" ] && [ "$(ops_kind)" != none ]; then
    say "the $stack environment $venv is complete"
    exit 0
fi
if "$py" -m pip show -q $other 2>/dev/null; then
    fail "$venv holds '$other' of the other OpenMMLab family, whose packages
own the same folders. Use another folder with --venv, or remove it."
fi
rm -f "$state/key"

find_uv
stage 'build tools, and what torch needs' install "${base[@]}"
if [ -e "$state/torch_args" ] &&
    [ "$(cat "$state/torch_args")" != "$torch_args" ]; then
    # another build of the same version, which pip would take for installed
    stage 'torch: removing the build of other MNV2_TORCH_ARGS' \
        "$py" -m pip uninstall -y torch
fi
by=install # what MNV2_TORCH_ARGS says is said to pip
[ -z "$torch_args" ] || by=pip_install
stage "torch (about 1 GB on disk, or 8 GB where the build is one with CUDA)" \
    $by torch $torch_args
printf '%s\n' "$torch_args" >"$state/torch_args"
stage "the $stack packages and what they need (about 1 GB on disk)" \
    install --no-build-isolation "${packages[@]}"
install_mmcv
[ $deploy = no ] || stage 'mmdeploy, without its dependencies' \
    install --no-deps mmdeploy
stage 'mnv2_mm, as an editable installation of this folder' \
    install --no-deps --no-build-isolation -e .
repaired=$("$py" -c 'from mnv2_mm.utils.config_names import add_names
from mnv2_mm.utils.environment import repair_torchvision
print("; ".join(filter(None, (repair_torchvision(), add_names()))))')
[ -z "$repaired" ] || say "$repaired"
"$py" tools/env_state.py save "$state/installed.json"
printf '%s\n' "$key" >"$state/key"
say "the ops of mmcv: $("$py" -c 'from mnv2_mm.utils.mmcv_ops import SENTENCES, ops_kind
print(SENTENCES[ops_kind()])')"
say "done: $venv (activate it with: source '$venv/bin/activate')"
