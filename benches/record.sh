#!/usr/bin/env bash
# Runs benches and writes a table of their results, with what they ran on:
#     benches/record.sh > benches/results/DATE-MACHINE/speed.md
#     benches/record.sh codec transforms > ...     only these
# Needs a quiet machine; all benches take about a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
benches=("$@")
[ ${#benches[@]} -gt 0 ] || benches=(transforms codec kernels entropy)

cat <<HEAD
# Speed

- command: \`benches/record.sh ${benches[*]}\`
- commit: $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- src benches Cargo.toml Cargo.lock || echo ' with changes')
- date: $(date -u +%Y-%m-%d)
- processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores
- load before the run: $(cut -d ' ' -f 1 /proc/loadavg)
- compiler: $(rustc --version)

Times are criterion's estimates with their 95 % confidence intervals. An element is a pixel of the picture in
\`codec\`, \`threads\` and \`transforms\`, a symbol in \`entropy\`, and an operation in \`pointwise\`
and \`block\`.
HEAD

for bench in "${benches[@]}"; do
    printf '\n## %s\n\n' "$bench"
    printf '| benchmark | time | interval | throughput | per element |\n| --- | --- | --- | --- | --- |\n'
    cargo bench --bench "$bench" -- --noplot | awk '
        # Progress, and comparisons with an earlier run.
        /^Benchmarking/ || /%/ { next }
        # A long name stands on a line of its own, before the line with its time.
        /^[^ ]/ && !/ time: / { name = $0 }
        match($0, / time: +\[/) {
            row("", "")
            if (substr($0, 1, 1) != " ") name = substr($0, 1, RSTART)
            sub(/ +$/, "", name)
            split(substr($0, RSTART + RLENGTH), t, /[] []+/)
            cells = name " | " t[3] " " t[4] " | " t[1] " " t[2] " to " t[5] " " t[6]
        }
        match($0, / thrpt: +\[/) {
            split(substr($0, RSTART + RLENGTH), r, /[] []+/)
            row(r[3], r[4])
        }
        END { row("", "") }
        function row(rate, unit,    scale, each) {
            if (cells == "") return
            scale = unit ~ /^G/ ? 1e9 : unit ~ /^M/ ? 1e6 : unit ~ /^K/ ? 1e3 : 1
            if (unit ~ /elem/) each = 1e9 / (rate * scale)
            each = each == "" ? "" : sprintf(each < 100 ? "%.3g ns" : "%.0f ns", each)
            printf "| %s | %s %s | %s |\n", cells, rate, unit, each
            fflush()
            cells = ""
        }'
done
