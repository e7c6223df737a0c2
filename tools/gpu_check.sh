#!/usr/bin/env bash
# Everything that only a GPU can show, in under 12 minutes on one H100 and without a network.
#
#     bash tools/gpu_check.sh              all steps; the same command again goes on where the last one stopped
#     bash tools/gpu_check.sh tests bench  some of them
#
# A step that is finished is not run again (FORCE=1 runs it). Exit code 0: all is done. 75: time is up or images are
# missing, call again. 1: a step failed; its log says why, and the steps after it were still run.
#
#   setup     unpack wheels, collect images, say what is missing
#   tests     the tests marked "cuda": numbers, waits, stacked training, memory, checkpoints, graphs
#   ranks     NCCL with one rank, two ranks on one GPU by Gloo
#   bench     an iteration of CIFAR-10 and of CIFAR-100 at IPC 10, five students in turn and stacked (`make bench-gpu`)
#   teachers  20 teachers in turn and stacked, compiled or not; chooses the way, and the epochs that fit into the time
#   paper     CIFAR-10 IPC 10 by the paper's schedule: teachers, as many iterations as the time allows, 10 students
#
# Settings, by environment variables:
#   OUT        results for people: rows, logs, the set (default .gpu/out)
#   WORK       what a later call needs: cache, checkpoints, finished steps (default .gpu/work; keep it between calls)
#   WHEELS     folder of wheels (default .gpu/wheels), see tools/gpu_files.py
#   PARTS      folder with parquet files of CIFAR-10, in any depth (default .gpu/parts), see tools/gpu_files.py
#   MINUTES    of this call (default 12)
#   PYTHON     interpreter with PyTorch (default python3)
#   TEACHER_SECONDS, DISTILL_SECONDS   shares of step paper (default 120, 80)
#   REHEARSAL  1: on the CPU, with the digits and tiny settings
set -uo pipefail
SCRIPT=$(cd "$(dirname "$0")" && pwd)/gpu_check.sh
cd "$(dirname "$SCRIPT")/.." || exit 1

OUT=${OUT:-.gpu/out} WORK=${WORK:-.gpu/work} WHEELS=${WHEELS:-.gpu/wheels} PARTS=${PARTS:-.gpu/parts}
PYTHON=${PYTHON:-python3} MINUTES=${MINUTES:-12} FORCE=${FORCE:-0} REHEARSAL=${REHEARSAL:-0}
TEACHER_SECONDS=${TEACHER_SECONDS:-120} DISTILL_SECONDS=${DISTILL_SECONDS:-80}
ROWS=${ROWS:-$WORK/rows}
mkdir -p "$OUT" "$WORK/done" "$WORK/logs" "$WORK/data/cifar10" "$ROWS"
WORK=$(cd "$WORK" && pwd) OUT=$(cd "$OUT" && pwd) ROWS=$(cd "$ROWS" && pwd)
export OUT WORK ROWS REHEARSAL FORCE WHEELS PARTS PYTHON TEACHER_SECONDS DISTILL_SECONDS
export DEADLINE=${DEADLINE:-$(($(date +%s) + $(awk "BEGIN { print int(60 * $MINUTES) }")))}

DEVICE=cuda ROW=cifar10-ipc10-paper
STEP_BENCH=(--dataset random --repeats 10 --only ncfm)
TINY=() SOME=(-k "") # settings and tests of a rehearsal
if [ "$REHEARSAL" = 1 ]; then
  DEVICE=cpu ROW=digits-ipc1 DISTILL_SECONDS=1
  STEP_BENCH=(--dataset random --repeats 1 --only ncfm --ipc 1 --image-size 8)
  SOME=(-k "checkpoint or pool")
  for setting in teachers.network=convnet1w8 teachers.number=2 teachers.epochs=2 frequencies.number=16 \
    distill.real_batch_per_class=4 evaluate.network=convnet1w8 evaluate.runs=2 evaluate.epochs=2; do
    TINY+=(--set "$setting")
  done
fi
export NCFM_TEST_DEVICE=$DEVICE NCFM_CACHE=$WORK/cache NCFM_DATA=$WORK/data
export PYTHONPATH=$WORK/site:$PWD/src PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
export TORCHINDUCTOR_CACHE_DIR=$WORK/inductor TRITON_CACHE_DIR=$WORK/triton

setup() {
  local wheels=("$WHEELS"/*.whl)
  if [ -e "${wheels[0]}" ]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$WORK/site" "${wheels[@]}" || return
  fi
  [ ! -d "$PARTS" ] || find "$PARTS" -name '*.parquet' -exec cp -n {} "$WORK/data/cifar10/" \;
  "$PYTHON" -c 'import torch; print("PyTorch", torch.__version__, "GPUs:", torch.cuda.device_count())' || return 1
  "$PYTHON" tools/gpu_files.py check "$WORK/data/cifar10"
  case $? in
    0) ;;
    2) [ "$REHEARSAL" = 1 ] || return 75 ;;
    *) return 1 ;;
  esac
}

tests() {
  "$PYTHON" -m pytest -m cuda tests/cuda --ignore tests/cuda/test_ranks.py -p no:cacheprovider -W default --durations=10 \
    -ra \
    --junitxml "$WORK/logs/tests.xml" "${SOME[@]}"
}

ranks() {
  "$PYTHON" -m pytest -m cuda tests/cuda/test_ranks.py -p no:cacheprovider -W default -ra \
    --junitxml "$WORK/logs/ranks.xml"
}

once() {  # a part of a step, by name: not again after an interruption
  local part=$1
  shift
  [ ! -f "$WORK/done/$part" ] || [ "$FORCE" = 1 ] || return 0
  "$@" && touch "$WORK/done/$part"
}

bench() {
  local at=(--device "$DEVICE" "${STEP_BENCH[@]}" --results "$ROWS/cost.csv")
  if [ "$REHEARSAL" = 1 ]; then
    once bench-10 "$PYTHON" -m benchmarks.step "${at[@]}" --points 4x16 &&
      once bench-students "$PYTHON" -m benchmarks.students --device cpu --students 2 --epochs 1 --repeats 1 --ipc 1 \
        --image-size 8 --results "$ROWS/cost.csv"
    return
  fi
  once bench-10 "$PYTHON" -m benchmarks.step "${at[@]}" --points 1024x1024 &&
    once bench-100 "$PYTHON" -m benchmarks.step "${at[@]}" --points 500x1024 --classes 100 --gradient-chunk 500 &&
    once bench-students "$PYTHON" -m benchmarks.students --device "$DEVICE" --results "$ROWS/cost.csv"
}

teachers() {
  local more=(--images 5120)
  [ "$REHEARSAL" = 0 ] || more=(--images 200 --repeats 1 --ways "in turn;side by side")
  "$PYTHON" -m benchmarks.teachers --device "$DEVICE" --row "$ROW" "${more[@]}" "${TINY[@]}" \
    --seconds "$TEACHER_SECONDS" --choose "$WORK/teachers.txt" --results "$ROWS/cost.csv"
}

paper() {
  # The teachers as chosen once, so that a later call goes on with the same run.
  local settings=(--set "distill.seconds=$DISTILL_SECONDS" "${TINY[@]}") line minutes
  if [ ! -f "$WORK/paper.txt" ]; then
    { [ ! -f "$WORK/teachers.txt" ] || cat "$WORK/teachers.txt"; } >"$WORK/paper.txt"
  fi
  while read -r line; do settings+=(--set "$line"); done <"$WORK/paper.txt"
  minutes=$(awk "BEGIN { left = $DEADLINE - $(date +%s) - 15; print (left > 3 ? left : 3) / 60 }")
  "$PYTHON" -m ncfm reproduce "$ROW" --device "$DEVICE" --budget "$minutes" --out "$WORK/paper" \
    --results "$ROWS/accuracy.csv" "${settings[@]}"
}

limit() {  # seconds that a step may take at most; it goes on in another call
  case $1 in
    setup) echo 60 ;;
    tests) echo 180 ;;
    ranks) echo 75 ;;
    bench) echo 240 ;;
    teachers) echo 120 ;;
    *) echo 100000 ;;  # by its own budget
  esac
}

collect() {  # what is there, so that a call that is cut leaves it too
  cp -r "$ROWS"/*.csv "$OUT/" 2>/dev/null
  cp "$WORK/steps.csv" "$OUT/" 2>/dev/null
  cat "$WORK"/logs/*.log >"$OUT/log.txt" 2>/dev/null
  [ ! -f "$WORK/logs/tests.xml" ] || cp "$WORK/logs/tests.xml" "$OUT/"
  [ ! -d "$WORK/paper" ] || tar -czf "$OUT/paper.tar.gz" -C "$WORK" --exclude '*before*' paper
}

step() {
  local name=$1 began=$SECONDS left=$((DEADLINE - $(date +%s))) most code
  [ ! -f "$WORK/done/$name" ] || [ "$FORCE" = 1 ] || { echo "== $name: done before"; return 0; }
  [ "$left" -gt 5 ] || { echo "== $name: no time left"; return 75; }
  most=$(limit "$name")
  [ "$REHEARSAL" = 0 ] || most=$((most * 5))  # other work may run next to it
  [ "$most" -lt "$left" ] || most=$left
  echo "== $name (at most $most s)"
  timeout --signal=INT --kill-after=10 "$most" bash "$SCRIPT" --only "$name" 2>&1 | tee "$WORK/logs/$name.log"
  code=${PIPESTATUS[0]}
  [ "$code" != 124 ] && [ "$code" != 137 ] || code=75
  [ "$code" != 0 ] || touch "$WORK/done/$name"
  echo "== $name: exit $code after $((SECONDS - began)) s"
  [ -f "$WORK/steps.csv" ] || echo "step,exit,seconds,date" >"$WORK/steps.csv"
  echo "$name,$code,$((SECONDS - began)),$(date -u +%F)" >>"$WORK/steps.csv"
  return "$code"
}

if [ "${1:-}" = --only ]; then
  "$2"
  exit
fi
ended=0
trap collect EXIT
[ $# -gt 0 ] || set -- setup tests ranks bench teachers paper
for name in "$@"; do
  if [ "$name" = paper ] && [ "$REHEARSAL" = 0 ] && [ ! -f "$WORK/done/setup" ]; then
    echo "== paper: waits for the images (setup)"
    [ "$ended" = 1 ] || ended=75
    continue
  fi
  step "$name"
  code=$?
  if [ "$code" = 75 ]; then [ "$ended" = 1 ] || ended=75; elif [ "$code" != 0 ]; then ended=1; fi
  [ "$name" != setup ] || [ "$code" = 0 ] || [ "$code" = 75 ] || break  # nothing runs without its packages
done
exit "$ended"
