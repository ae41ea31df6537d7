#!/usr/bin/env bash
# Makes the most of a few minutes on a GPU: checks, speeds, then training until the time is up.
#
#     benches/gpu.sh BINARY PICTURES VALIDATION MODEL OUT SECONDS
#
# BINARY is an `aec` with the feature `cuda`; MODEL the weights to start from; OUT the folder for logs and weights,
# which come in parts of 15 MB (`cat weights.part-* > weights.safetensors`). From the environment:
#     DEVICE=cuda          or cpu, to rehearse
#     TESTS=               the compiled tests (cargo test --features cuda --test it --no-run), if they are here
#     CONFIG=weights/base.toml  sizes and recipe; steps, batch and checkpoints are set here
#     BATCHES="32 64 128"  batches whose speed is measured, CROP=256 and SPEED_STEPS=100 of what
set -euo pipefail
[ $# -eq 6 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
binary=$1 pictures=$2 validation=$3 model=$4 out=$5 seconds=$6
device=${DEVICE:-cuda} tests=${TESTS:-} config=${CONFIG:-weights/base.toml}
batches=${BATCHES:-32 64 128} crop=${CROP:-256} speed_steps=${SPEED_STEPS:-100}
end=$((SECONDS + seconds))
work=$(mktemp -d)
trap 'rm -rf "$work"; kill $(jobs -p) 2>/dev/null || true' EXIT
mkdir -p "$out"
log() { printf '%4d s  %s\n' "$SECONDS" "$*" | tee -a "$out/gpu.log"; }
left() { echo $((end - SECONDS)); }

# The CUDA libraries that PyTorch brings, where the system has none.
if [ "$device" = cuda ]; then
    packages=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null || true)
    for folder in "$packages"/cu13/lib "$packages"/*/lib /usr/local/cuda/lib64 /usr/local/nvidia/lib64; do
        [ -d "$folder" ] && LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    done
    export LD_LIBRARY_PATH
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader | tee -a "$out/gpu.log"
fi

# A recipe with some of its fields replaced: recipe FIELD=VALUE...
recipe() {
    local text field
    text=$(cat "$config")
    for field in "$@"; do
        text=$(sed "/^\[/,\$!{/^${field%%=*} *=/d}" <<< "$text")
        text="${field%%=*} = ${field#*=}"$'\n'"$text"
    done
    printf '%s\n' "$text"
}

# A training run; trailing arguments are fields of its recipe.
train() {
    local run=$1 data=$2
    shift 2
    recipe "$@" > "$run.toml"
    "$binary" -v train --device "$device" --data "$data" --validation "$validation" --init "$model" \
        --config "$run.toml" --out "$run"
}

log "1. files, pixels and training steps against the CPU's"
if [ -n "$tests" ]; then
    # One thread: opening the device changes what a panic prints. Where a GPU is expected, a skip is a failure.
    if timeout 60 "$tests" cuda:: --test-threads=1 --nocapture > "$out/tests.log" 2>&1 && ! grep -q '^skipped' "$out/tests.log"
    then log "   they agree"; else log "   they do NOT all agree: see tests.log"; fi
    grep -E '^test |skipped|loss' "$out/tests.log" || true
else
    log "   left out: no TESTS"
fi

log "2. speed by batch, $speed_steps steps of ${crop}x$crop each"
mkdir "$work/few"
find -L "$pictures" -type f | sort | awk 'NR % 20 == 1' | while read -r file; do
    cp "$file" "$work/few/"
done
best=0 best_batch=${batches%% *}
for batch in $batches; do
    train "$work/speed-$batch" "$work/few" steps="$speed_steps" batch="$batch" crop="$crop" large_fraction=0.0 \
        log_every=$((speed_steps / 5)) checkpoint_every=1000000 > "$work/speed.log" 2>&1 &&
        # The first line counts what is compiled and loaded at the start.
        rate=$(awk '$1 == "train" && n++ { sum += $8 } END { printf "%.3f", sum / (n - 1) }' "$work/speed-$batch/log.tsv") ||
        { log "   batch $batch failed: $(tail -n 1 "$work/speed.log")"; continue; }
    speed=$(awk -v r="$rate" -v b="$batch" -v c="$crop" 'BEGIN { printf "%.2f", r * b * c * c / 1e6 }')
    log "   batch $batch: $rate steps/s, $speed Mpx/s"
    if awk -v a="$speed" -v b="$best" 'BEGIN { exit !(a > b) }'; then best=$speed best_batch=$batch best_rate=$rate; fi
done
[ "$best" != 0 ] || { log "no batch could be trained"; exit 1; }

# What is left for the start and the end of training: the last checkpoint measures and draws for some seconds.
last=$((seconds / 20 + 20))
budget=$(($(left) - last))
steps=$(awk -v r="$best_rate" -v s="$budget" 'BEGIN { n = int(r * s * 0.9); print (n > 2 ? n : 2) }')
each=$(awk -v r="$best_rate" 'BEGIN { n = int(r * 60); print (n > 1 ? n : 1) }')
log "3. training: $steps steps of $best_batch crops in $budget s"
# Weights come back in parts as they are written: the newest whole ones are kept.
keep() {
    local seen=
    while sleep 5; do
        local file=$work/run/weights.safetensors now
        [ -f "$file" ] && now=$(stat -c %Y "$file") && [ "$now" != "$seen" ] || continue
        seen=$now
        rm -f "$out"/weights.part-*
        split -b 15000000 "$file" "$out/weights.part-"
        cp "$work/run/log.tsv" "$out/"
    done
}
keep & keeper=$!
train "$work/run" "$pictures" steps="$steps" batch="$best_batch" crop="$crop" log_every=50 checkpoint_every="$each" \
    > "$out/train.log" 2>&1 & trainer=$!
( sleep "$budget"; kill -INT "$trainer" 2>/dev/null; pkill -INT -P "$trainer" 2>/dev/null ) & watch=$!
wait "$trainer" || log "   ended early: $(tail -n 1 "$out/train.log")"
kill "$watch" "$keeper" 2>/dev/null || true
if [ -f "$work/run/weights.safetensors" ]; then
    rm -f "$out"/weights.part-*
    split -b 15000000 "$work/run/weights.safetensors" "$out/weights.part-"
    cp "$work/run/log.tsv" "$out/"
fi
log "   $(grep '^valid' "$out/log.tsv" | tail -n 5 | awk '{ s += $3 } END { print "validation loss", s / NR }')"

log "done"
