#!/bin/bash
# Fuzzes every decoder, or those that are named, one after the other, and prints a row of the table in
# docs/reliability.md for each. Needs a nightly toolchain and cargo-fuzz.
#
#   tests/fuzz/run.sh [--seconds N] [--sanitizer none|address] [--work DIR] [--no-build] [--quick] [TARGET…]
#
# --quick leaves out the decoders of cairn-releng, which take most of the time that building takes. Where
# targets are named, only these are built, and only the crates that they need.
# It begins with the corpus and with what earlier runs left in DIR/TARGET, adds what is new there, and
# leaves inputs that crash as DIR/TARGET.crash-…; the corpus itself is not written to. After a crash the
# next target goes on, and the exit code is 1.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"

seconds=60
sanitizer=none
work=${TMPDIR:-/tmp}/cairn-fuzz
build=yes
named=yes
quick=no
targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$2 && shift 2 ;;
    --sanitizer) sanitizer=$2 && shift 2 ;;
    --work) work=$2 && shift 2 ;;
    --quick) quick=yes && shift ;;
    --no-build) build=no && shift ;;
    -*) sed -n '2,11s/^# \{0,1\}//p' run.sh >&2 && exit 2 ;;
    *) targets+=("$1") && shift ;;
    esac
done
# The feature that a target needs, which stands in the line after its path.
need_of() {
    grep -A 1 "^path = \"targets/$1.rs\"" Cargo.toml | sed -n 's/^required-features = \["\(.*\)"\]$/\1/p'
}
if [ ${#targets[@]} -eq 0 ]; then
    named=no
    for path in targets/*.rs; do
        target=$(basename "$path" .rs)
        [ "$quick,$(need_of "$target")" != yes,site ] || continue
        targets+=("$target")
    done
fi
for target in "${targets[@]}"; do
    if [ ! -e "targets/$target.rs" ]; then
        echo "there is no target $target; there are: $(basename -s .rs targets/*.rs | tr '\n' ' ')" >&2
        exit 2
    fi
done

# Which words help, and how large an input is worth looking at.
words_of() {
    case $1 in
    filelists | other) echo lists ;;
    operation | snapshot | trees-json) echo json ;;
    *) echo "$1" ;;
    esac
}
size_of() {
    case $1 in
    iso9660) echo 8192 ;;
    pack | primary | filelists | other | updateinfo | comps | modules | rpm-header) echo 65536 ;;
    names) echo 1024 ;;
    *) echo 16384 ;;
    esac
}

[[ $work == /* ]] || work=$from/$work
mkdir -p "$work"
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
# More memory than a decoder may take: the sanitizer keeps for a while what was freed.
memory=1024
if [ "$sanitizer" = address ]; then
    # The C of zstd and liblzma too, by the variable that their build scripts know.
    export "CFLAGS_${host//-/_}=-fsanitize=address -fno-omit-frame-pointer -g1"
    memory=2048
fi
if [ "$build" = yes ]; then
    needs=$(for target in "${targets[@]}"; do need_of "$target"; done | sort -u | tr '\n' ' ')
    options=(--fuzz-dir . -s "$sanitizer" --no-default-features --features "$needs")
    if [ $named = yes ]; then
        # It takes one at a time; what they share is built once.
        for target in "${targets[@]}"; do
            cargo +nightly fuzz build "${options[@]}" "$target"
        done
    else
        cargo +nightly fuzz build "${options[@]}"
    fi
fi
built=${CARGO_TARGET_DIR:-target}/$host/release

for target in "${targets[@]}"; do
    if [ ! -x "$built/$target" ]; then
        echo "$built/$target is not built; leave --no-build out" >&2
        exit 2
    fi
done

crashed=0
# Of the clock, and of a processor: a machine that is busy gives less.
echo "| target | executions | seconds | of a processor | edges | findings |"
echo "| --- | --- | --- | --- | --- | --- |"
TIMEFORMAT="%U %S"
for target in "${targets[@]}"; do
    mkdir -p "$work/$target"
    args=(-max_total_time="$seconds" -rss_limit_mb=$memory -timeout=20 -max_len="$(size_of "$target")")
    words=dict/$(words_of "$target").dict
    [ ! -e "$words" ] || args+=(-dict="$words")
    log=$work/$target.log
    found=0
    busy=$({ time "$built/$target" "${args[@]}" -artifact_prefix="$work/$target." \
        -print_final_stats=1 "$work/$target" "corpus/$target" >"$log" 2>&1; } 2>&1) || found=1
    crashed=$((crashed | found))
    busy=$(awk '{ print int($1 + $2) }' <<<"$busy")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "| $target | ${runs:-?} | ${took:-?} | $busy | ${edges:-?} | $found |"
done
exit $crashed
