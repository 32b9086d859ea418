#!/usr/bin/env bash
# From a fresh clone to a trained model, its figures and images.
# `--help` says how. Interrupted or repeated, it goes on with what is there.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: bash tools/quickstart.sh [--task det|seg|cls] [--no-setup]

Installs everything into .venv, makes the sample data set, trains on it,
evaluates, and leaves images in work_dirs/quickstart_<task>.

  --task det   SSDLite, object detection (default)
  --task seg   Mobile DeepLabv3, semantic segmentation
  --task cls   MobileNetV2, image classification
  --no-setup   use the `python` of the present environment, install nothing
EOF
}

task=det setup=yes
while [ $# -gt 0 ]; do
    case $1 in
        --task=*) task=${1#*=}; shift ;;
        --task)
            [ $# -ge 2 ] || { echo 'error: --task needs a value' >&2; exit 2; }
            task=$2
            shift 2
            ;;
        --no-setup) setup=no; shift ;;
        -h | --help) usage; exit 0 ;;
        *) echo "error: unknown option '$1'" >&2; usage >&2; exit 2 ;;
    esac
done
case $task in
    det) config=ssdlite_sample metric=coco/bbox_mAP_50 scale=1 words='mAP@50' ;;
    seg) config=deeplabv3_sample metric=mIoU scale=0.01 words='mIoU' ;;
    cls) config=mnv2_sample metric=accuracy/top1 scale=0.01 words='top-1' ;;
    *) echo "error: --task $task: give det, seg or cls" >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
config=configs/sample/$config.py
work=work_dirs/quickstart_$task
log=$work/quickstart.log
mkdir -p "$work"
export PYTHONUNBUFFERED=1
# The networks are so small that waking a second thread for each layer costs
# more than it gives: measured 0.18 s a step with one thread, 0.37 with two.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# glibc would give the memory of every step back to the system and fetch it
# again for the next: 0.13 s a step instead of 0.15 without that. These are
# what `tools/train.py --fast` asks for, without its bfloat16.
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-2147483647}
export MALLOC_MMAP_MAX_=${MALLOC_MMAP_MAX_:-0}
# Two processes of one thread each do use two cores: the segmentation, the
# longest of the three, splits its batch of 8 between them.
launcher=() flags=()
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
if [ "$task" = seg ] && [ "$cores" -ge 2 ]; then
    launcher=(-m torch.distributed.run --standalone --nproc_per_node=2)
    flags=(--launcher pytorch --cfg-options train_dataloader.batch_size=4)
fi

# ------------------------------------------------------------------- stages
stage='' number=0 stages=6

banner() { # what, how long
    stage=$1
    number=$((number + 1))
    printf '\n==== [%d/%d] %s  (%s; %s so far)\n' \
        "$number" "$stages" "$1" "$2" "$(clock "$SECONDS")"
}

clock() { printf '%d:%02d min' $(($1 / 60)) $(($1 % 60)); }

logged() { "$@" 2>&1 | tee -a "$log"; }

ended() {
    code=$?
    [ "$code" -eq 0 ] && return
    if [ "$code" -eq 130 ]; then
        echo "stopped in [$number/$stages] $stage" >&2
    else
        echo "error: [$number/$stages] $stage failed (exit code $code)" >&2
    fi
    echo "  what it said is above; logs: $log" >&2
    newest=$(ls -t "$work"/*/*.log 2>/dev/null | head -n 1 || true)
    [ -z "$newest" ] || echo "  log of the training: $newest" >&2
    echo '  the same command goes on from here' >&2
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

banner 'environment' 'seconds if it is there, else some minutes'
if [ "$setup" = yes ]; then
    bash tools/setup_env.sh
    python=.venv/bin/python
else
    python=python
fi
installed=$SECONDS

banner 'sample data set' 'half a minute'
logged "$python" tools/make_sample_data.py

banner "training $config" 'about four minutes on two cores'
# not through a pipe: on a terminal it shows a bar with the time left
# (bash 3 takes an empty array for an unset variable)
"$python" ${launcher[@]+"${launcher[@]}"} tools/train.py "$config" \
    --work-dir "$work" --resume ${flags[@]+"${flags[@]}"}

# the best on the validation split, else the last
best=$(ls -t "$work"/best_*.pth 2>/dev/null | head -n 1 || true)
last=$(ls -t "$work"/epoch_*.pth "$work"/iter_*.pth 2>/dev/null \
    | head -n 1 || true)
weights=${best:-$last}

banner "evaluation of $weights" 'half a minute'
if [ "$work/metrics.json" -nt "$weights" ]; then
    echo "$work/metrics.json is newer than the checkpoint; it is reused"
else
    logged "$python" tools/test.py "$config" "$weights" --work-dir "$work"
fi

banner 'images' 'half a minute'
if [ "$task" = cls ]; then
    images=()
    for folder in data/sample/classify/val/*/; do
        all=("$folder"*.jpg)
        images+=("${all[@]:0:3}")
    done
else
    all=(data/sample/images/val/*.jpg)
    images=("${all[@]:0:12}")
fi
logged "$python" tools/demo.py "$config" "${images[@]}" \
    --weights "$weights" --out-dir "$work/images"

banner 'curves' 'seconds'
logged "$python" tools/plot_curves.py "$work"

value=$("$python" - "$work/metrics.json" "$metric" "$scale" <<'EOF'
import json
import sys

path, key, scale = sys.argv[1:]
with open(path) as file:
    print(f'{json.load(file)["metrics"][key] * float(scale):.3f}')
EOF
)
cat <<EOF

==== done in $(clock "$SECONDS") ($(clock "$installed") of it for the environment)
$words on the validation split: $value
Look at:
  $work/images/   predictions drawn on validation images, results.json
  $work/curves.png  loss and metrics over the training
  $work/metrics.json
  $weights
Next:
  $python tools/demo.py $config YOUR_PICTURES --weights $weights
EOF
