#!/usr/bin/env bash
# Fills corpus/ with seeds: the golden vectors, the tiny model, and what lies in seeds/.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p corpus/{container,decode,symbols,entropy,alpha,weights,picture}
cp ../tests/vectors/*.aec corpus/container
cp ../tests/vectors/*.aec corpus/decode
cp seeds/alpha/* corpus/alpha
cp seeds/weights/* corpus/weights
cp seeds/picture/* corpus/picture
# Symbols: quality, width, height, pairs. Entropy: the kind of input, then its parts.
printf '\x80\x45\x1d\x01\x0f\xff\x03\x07\x00' > corpus/symbols/mixed
printf '\xff\x7f\x3f%0200d' 0 > corpus/symbols/long
for kind in 0 1 2 3 4; do
    printf "\\x0$kind\\x10abcdefghijklmnop%0100d" "$kind" > "corpus/entropy/$kind"
done
# What was found before is tried again.
for target in corpus/*; do
    cp ../tests/regressions/"$(basename "$target")"/* "$target" 2> /dev/null || true
done
