#!/bin/bash
# Lets several processes work on one store at the same time, for as long as they are told: ingests,
# stages, promotions, rollbacks and collections, with checks and readers beside them.
#
#   tests/soak.sh [--seconds S] [--cairn FILE] [--work DIR] [--production DIR] [--wait DUR]
#
#   --seconds S       how long they work (10)
#   --work DIR        where store, composes and mounts are (a new directory in memory, else in TMPDIR)
#   --production DIR  an empty directory of another file system, for promotions that copy
#   --wait DUR        the --lock-wait of every command (30s)
#
# No check may find anything but work that is under way, no command may fail but by what another has
# just done (stale, busy, collected), and every operation that was reported must be in the log in the
# end, with a clean `fsck --full`. Prints what each kind of command did and how long it took at most,
# which is how long it waited. Exits with 1 if anything of this is not so.
set -uo pipefail
export LC_ALL=C.UTF-8 TZ=UTC NO_COLOR=1
unset CAIRN_CONFIG CAIRN_CRASH_AT

here=$(cd "$(dirname "$0")/.." && pwd)
seconds=10 wait=30s work= production=
cairn=${CARGO_TARGET_DIR:-$here/target}/debug/cairn
while (($#)); do
    case $1 in
    --seconds) seconds=$2; shift ;;
    --cairn) cairn=$(realpath "$2"); shift ;;
    --work) work=$2; shift ;;
    --production) production=$2; shift ;;
    --wait) wait=$2; shift ;;
    *) echo "soak: unknown option $1; the beginning of $0 lists them" >&2; exit 2 ;;
    esac
    shift
done
[[ -x $cairn ]] || { echo "soak: $cairn is not there; cargo build -p cairn makes it" >&2; exit 77; }
if [[ -z $work ]]; then
    [[ -d /dev/shm && -w /dev/shm ]] && work=/dev/shm || work=${TMPDIR:-/tmp}
fi
work=$(mktemp -d "$work/cairn-soak.XXXXXX")
production=${production:-$work/production}
mkdir -p "$work"/{compose,staging,out} "$production"
trap 'rm -rf "$work"' EXIT

cat >"$work/cairn.toml" <<END
[store]
path = "$work/store"
[compose]
root = "$work/compose"
[mounts.staging]
path = "$work/staging"
keep_trees = "1s"
[mounts.production]
path = "$production"
keep_trees = "1s"
grace = "2s"
max_deletes = "100%"
[gate.production]
require = []
[keep]
last = 3
within = "0s"
grace = "0s"
trash = "0s"
END
c() { "$cairn" --config "$work/cairn.toml" --lock-wait "$wait" -j 2 "$@"; }

# A compose of its own for each ref; some content is everybody's, some of it comes back.
change() { # NAME ROUND
    local dir=$work/compose/$1 i
    mkdir -p "$dir/$1/os/Packages"
    for i in 1 2 3 4 5 6; do
        printf 'package %s, all rounds' "$i" >"$dir/$1/os/Packages/stays-$i.rpm"
        printf '%s package %s, round %s' "$1" "$i" $(($2 % 4)) >"$dir/$1/os/Packages/turns-$i.rpm.new"
        mv "$dir/$1/os/Packages/turns-$i.rpm.new" "$dir/$1/os/Packages/turns-$i.rpm"
    done
    printf '%s %s' "$1" "$2" >"$dir/$1/os/round"
}
for name in Rocky Extras; do
    change $name 0
done
c init >/dev/null && c ingest --as compose/9/Rocky "$work/compose/Rocky" >/dev/null &&
    c ingest --as compose/9/Extras "$work/compose/Extras" >/dev/null &&
    c stage 9 Rocky Extras --delete >/dev/null && c promote 9 --delete >/dev/null ||
    { echo "soak: the store could not be prepared" >&2; exit 2; }

until=$((SECONDS + seconds))
# LABEL, WHAT-IS-FINE (codes), ARGS: once; one line of label, code, milliseconds and operation.
once() {
    local label=$1 fine=$2 out=$work/out/$1 began code id
    shift 2
    began=$(date +%s%3N)
    c --json "$@" >"$out.json" 2>"$out.err"
    code=$?
    id=$(grep -o '"operation": *"[0-9a-f]\{64\}"' "$out.json" | head -n 1 | grep -o '[0-9a-f]\{64\}')
    echo "$label $code $(($(date +%s%3N) - began)) ${id:--}" >>"$work/out/$label.log"
    case " $fine " in
    *" $code "*) ;;
    *)
        # What another has just done is no failure of this one.
        [[ $code -eq 1 ]] && grep -Eq 'was collected|has been published|changed while it was read' "$out.err" ||
            { echo "BAD $label: exit $code"; head -c 2000 "$out.json" "$out.err"; } >>"$work/out/bad"
        ;;
    esac
}
ingests() {
    local round=1
    while ((SECONDS < until)); do
        change "$1" $round
        once "ingest-$1" "0 11" ingest --as "compose/9/$1" "$work/compose/$1"
        round=$((round + 1))
    done
}
again() { while ((SECONDS < until)); do once "$@"; done; }
# Copies of the store while all work: each must be a state that was acknowledged. Everything that is
# needed lies in files that never change, so the order is: the log, then what it speaks of.
copies() {
    local n=0 copy=$work/copy
    while ((SECONDS < until)); do
        sleep 1
        # (What is being written has a name that begins with a dot, and may be gone again.)
        rm -rf "$copy" && mkdir -p "$copy/log" && cp -a "$work/store/format" "$copy/" &&
            cp -a "$work"/store/log/[!.]* "$copy/log/" &&
            cp -a "$work/store/packs" "$copy/" 2>/dev/null
        sed "s|^path = \"$work/store\"|path = \"$copy\"|" "$work/cairn.toml" >"$work/copy.toml"
        "$cairn" --config "$work/copy.toml" --json log >"$work/out/copy.json" 2>"$work/out/copy.err"
        code=$?
        echo "copied-log $code 0 -" >>"$work/out/copied-log.log"
        # A pack that was collected between the two copies is missed, and said.
        [[ $code -eq 0 || $code -eq 13 ]] ||
            { echo "BAD copied-log: exit $code"; head -c 2000 "$work/out/copy.err"; } >>"$work/out/bad"
        n=$((n + 1))
    done
}

ingests Rocky &
ingests Extras &
again stage "0 4 11" stage 9 Rocky Extras --delete &
again promote "0 4 11" promote 9 --delete --allow-deletes 100% &
again rollback "0 4 11" rollback production/9.7 &
again gc "0 4 11" gc &
again fsck "0" fsck &
again fsck-full "0" fsck --full &
again status "0" status &
copies &
wait
once publish "0" publish
once fsck-in-the-end "0" fsck --full

# Everything that was reported is in the log, once, and the log has nothing that nobody reported.
c --json log >"$work/out/log.json"
grep -o '"id": *"[0-9a-f]\{64\}"' "$work/out/log.json" | grep -o '[0-9a-f]\{64\}' | sort >"$work/out/logged"
cat "$work"/out/*.log | awk '$4 != "-" { print $4 }' | sort >"$work/out/reported"
lost=$(comm -13 "$work/out/logged" "$work/out/reported" | wc -l)
twice=$(uniq -d "$work/out/reported" | wc -l)
[[ $lost -eq 0 && $twice -eq 0 ]] || echo "BAD $lost operations lost, $twice twice" >>"$work/out/bad"

echo "what              runs   done   busy  stale  other  longest"
cat "$work"/out/*.log | awk '
    { runs[$1]++; if ($3 > most[$1]) most[$1] = $3 }
    $2 == 0 { done[$1]++; next } $2 == 11 { busy[$1]++; next } $2 == 4 { stale[$1]++; next }
    { other[$1]++ }
    END { for (l in runs) printf "%-16s %5d  %5d  %5d  %5d  %5d  %5.1f s\n",
        l, runs[l], done[l], busy[l], stale[l], other[l], most[l] / 1000 }' | sort
echo "$(wc -l <"$work/out/reported") operations reported, $lost lost; $SECONDS s"
if [[ -s $work/out/bad ]]; then
    cat "$work/out/bad"
    exit 1
fi
