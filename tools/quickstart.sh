#!/usr/bin/env bash
# From a fresh clone to detections on photos, then to a trained model with its
# figures and images. `--help` says how. Interrupted or repeated, it goes on with
# what is there.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: bash tools/quickstart.sh [--task det|seg|cls] [--weights FILE]
                                [--random] [--no-setup]

Installs everything into .venv, runs a published network on photos, makes the
sample data set, trains on it from the weights of that network (from random ones
where they cannot be had), and leaves images in work_dirs/quickstart_<task>.

  --task det      SSDLite, object detection (default)
  --task seg      Mobile DeepLabv3, semantic segmentation
  --task cls      MobileNetV2, image classification
  --weights FILE  file of the published network (docs/model_zoo.md), where it
                  cannot be downloaded
  --random        train from random weights all the same
  --no-setup      use the `python` of the present environment, install nothing
EOF
}

task=det setup=yes weights='' random=no
while [ $# -gt 0 ]; do
    case $1 in
        --task=* | --weights=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --task | --weights)
            [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
            case $1:$2 in
                --task:*) task=$2 ;;
                --weights:/*) weights=$2 ;;
                *) weights=$PWD/$2 ;;
            esac
            shift 2
            ;;
        --random) random=yes; shift ;;
        --no-setup) setup=no; shift ;;
        -h | --help) usage; exit 0 ;;
        *) echo "error: unknown option '$1'" >&2; usage >&2; exit 2 ;;
    esac
done
case $task in
    det) config=ssdlite_sample network=ssd_mnv2_openimages
        photos='chelsea coffee astronaut'
        metric=coco/bbox_mAP_50 scale=1 words='mAP@50' half=8 ;;
    seg) config=deeplabv3_sample network=deeplabv3_mnv2_voc
        photos='chelsea astronaut motorcycle_left'
        metric=mIoU scale=0.01 words='mIoU' half=4 ;;
    cls) config=mnv2_sample network=mnv2_in1k
        photos='chelsea coffee motorcycle_left'
        metric=accuracy/top1 scale=0.01 words='top-1' half=16 ;;
    *) echo "error: --task $task: give det, seg or cls" >&2; exit 2 ;;
esac

if [ -n "$weights" ] && [ ! -f "$weights" ]; then
    echo "error: there is no file $weights; correct --weights" >&2
    exit 2
fi
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=work_dirs/quickstart_$task
log=$work/quickstart.log
mkdir -p "$work"
export PYTHONUNBUFFERED=1
# The networks are so small that waking a second thread for each layer costs
# more than it gives: measured 0.18 s a step with one thread, 0.37 with two.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

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
    newest=$(ls -t "$work"/*/*/*.log 2>/dev/null | head -n 1 || true)
    [ -z "$newest" ] || echo "  log of the training: $newest" >&2
    [ "$code" -eq 2 ] || echo '  the same command goes on from here' >&2
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

banner "real photos, by Google's $network" 'half a minute'
# Prints the path of the network's checkpoint, which is downloaded and converted
# where it is not there.
trained() {
    "$python" - "$network" "$weights" <<'EOF'
import sys
from contextlib import redirect_stdout

from mnv2_mm.checkpoints.hub import resolve
from mnv2_mm.utils.errors import command


@command
def main() -> None:
    with redirect_stdout(sys.stderr):
        _, path = resolve(sys.argv[1], sys.argv[2] or None)
    print(path)


main()
EOF
}
if start=$(trained); then
    # where scikit-image is, which has photos
    folder=$("$python" -c 'from importlib.util import find_spec as find
print(find("skimage").submodule_search_locations[0] if find("skimage") else "")')
    if [ -n "$folder" ]; then
        images=()
        for photo in $photos; do images+=("$folder/data/$photo.png"); done
        logged "$python" tools/demo.py "$network" "${images[@]}" \
            --weights "$start" --score-thr 0.4 --out-dir "$work/real_photos"
    else
        echo 'scikit-image is not installed, so there are no photos; yours:'
        echo "  $python tools/demo.py $network PHOTOS --weights $start"
    fi
elif [ -n "$weights" ]; then
    exit 2
else
    start=''
    echo "No photos are shown: there are no weights of $network (the reason is above)."
    echo 'Give a file of them: --weights FILE. The training starts from random weights.'
fi
# torchrun without its log and traceback when a process has said why it ended
torchrun='import logging, sys
logging.disable()
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main
try:
    main()
except SignalException as stopped:
    sys.exit(128 + stopped.sigval)
except ChildFailedError as failed:
    code = failed.get_first_failure()[1].exitcode  # below 0: a signal
    sys.exit(code if code >= 0 else 128 - code)'
# The two trainings differ in width, and each goes on in its own folder.
run=$work/random_start launcher=() flags=() options=()
if [ -n "$start" ] && [ $random = no ]; then
    config=${config}_finetune run=$work/finetune
    options=("model.backbone.init_cfg.checkpoint=$start")
fi
if [ "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" -ge 2 ]; then
    # Two processes of one thread each use two cores; they share the batch.
    launcher=(-c "$torchrun" --standalone --nproc_per_node=2)
    flags=(--launcher pytorch)
    options+=("train_dataloader.batch_size=$half")
fi
if [ ${#options[@]} -gt 0 ]; then
    flags+=(--cfg-options "${options[@]}")
fi
config=configs/sample/$config.py

banner 'sample data set' '15 seconds'
logged "$python" tools/make_sample_data.py

banner "training $config" 'two to four minutes on two cores'
# not through a pipe: on a terminal it shows a bar with the time left
# (bash 3 takes an empty array for an unset variable)
"$python" ${launcher[@]+"${launcher[@]}"} tools/train.py "$config" \
    --work-dir "$run" --resume ${flags[@]+"${flags[@]}"}

# The training has just evaluated it; its learning rate has ended at zero, so it is as
# good as the best of the earlier ones.
weights=$(ls -t "$run"/epoch_*.pth "$run"/iter_*.pth 2>/dev/null | head -n 1 || true)

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
    --weights "$weights" --score-thr 0.45 --out-dir "$run/images"

banner 'curves' 'seconds'
logged "$python" tools/plot_curves.py "$run"

value=$("$python" - "$run" "$metric" "$scale" <<'EOF'
import sys

from mnv2_mm.utils.curves import read_curves

work_dir, key, scale = sys.argv[1:]
print(f'{read_curves(work_dir).last[key] * float(scale):.3f}')
EOF
)
place=''
[ "$from" = "$PWD" ] || place=" (in $PWD)"
if [ "$setup" = yes ]; then
    activate=$'  source .venv/bin/activate\n'
    predict='mnv2 predict' test='mnv2 test' report='mnv2 report'
else # mnv2 may be that of another installation
    activate='' predict="$python tools/demo.py"
    test="$python tools/test.py" report="$python tools/report.py"
fi
cat <<EOF

==== done in $(clock "$SECONDS") ($(clock "$installed") of it for the environment)
$words on the validation split: $value
Look at${place}:
  $run/images/   predictions drawn on validation images, results.json
  $run/curves.png  loss and metrics over the training
  $weights
Next${place}:
${activate}  $predict $config YOUR_PHOTOS --weights $weights
  $test $config $weights
  $report $run
EOF
