#!/bin/bash
# Runs the real binary and lets one system call go wrong at a time: killed there, failed there, or the
# power cut there. After each, what is live must be one whole intended tree, the next command must put
# things right by itself, and nothing that was reported done may be missing.
#
#   tests/torture.sh [--every N] [--offset N] [--cases LIST] [--faults LIST] [--fs ext4|xfs|btrfs]
#                    [--swap exchange|symlink] [--nested N] [--seconds S] [--cairn FILE] [--work DIR]
#   tests/torture.sh --controls [--fs ...]     proves that the checks find what is wrong
#
#   --every N     every N-th of the points that there are, beginning with --offset (1: all of them),
#                 and of each case and fault one at least
#   --cases       init,ingest,stage,promote,rollback,far,gc,adopt,index,recover (all of them)
#   --faults      kill, cut (power), or an errno as ENOSPC; with + at its end every call from the
#                 point on fails. Default: kill,cut,ENOSPC,ENOSPC+,EIO,EIO+,EROFS+,EDQUOT,EMLINK,EXDEV,EPERM
#                 and EEXIST and ENOENT, which are given to what makes and takes names only: NFS says so of
#                 requests that were sent twice, here it is not even true
#   --in-turn     of the faults one at each point and not all, in turn: every call goes wrong once
#   --nested N    after every N-th kill the recovery is killed too, at a point of its own
#   --seconds S   ends after the point at which this time is over, and says how much is left out
#   --jobs N      so many at once, each with its share of the points and its own file systems
#   --only RE     of the points only those like this: 'syncfs .*', 'linkat 3'
#   --show CODE   prints what the command said when it ended with this code
#   --work DIR    a directory in memory by preference; default below /dev/shm
#
# How it works. Store, composes and staging are on one file system in a file, production on another.
# For each case the two files are prepared once and copied for each point, so that every point starts
# from the same state, inode for inode. strace finds the calls that concern the two mounts, and
# injects the fault at one of them. What costs time is processes: strace stops the program at the one
# call that it injects at and not at every call (--seccomp-bpf; not for kills, which strace drops
# there), and a tree is read by one tar. A release build of cairn takes a third of a debug build's
# time. A power cut is a kill and FS_IOC_SHUTDOWN of both file systems,
# without a flush of their journals: all that was not synced is gone when they are mounted again.
#
# Needs root, loop mounts, strace, mkfs of the file system, and xfs_io for power cuts. Prints a line
# for each case and fault, and exits with 1 if any point was bad.
set -uo pipefail
export LC_ALL=C.UTF-8 TZ=UTC NO_COLOR=1
unset CAIRN_CONFIG CAIRN_CRASH_AT

here=$(cd "$(dirname "$0")/.." && pwd)
every=1 offset=0 in_turn=0 nested=0 seconds=0 jobs=1 share=0 fs=ext4 swap=exchange controls=no only= show=
cases=init,ingest,stage,promote,rollback,far,gc,adopt,index,recover
faults=kill,cut,ENOSPC,ENOSPC+,EIO,EIO+,EROFS+,EDQUOT,EMLINK,EXDEV,EPERM,EEXIST,ENOENT
cairn=${CARGO_TARGET_DIR:-$here/target}/debug/cairn
memory=/dev/shm; [[ -d $memory && -w $memory ]] || memory=${TMPDIR:-/tmp}
work=
given=("$@")
while (($#)); do
    case $1 in
    --every) every=$2; shift ;;
    --offset) offset=$2; shift ;;
    --cases) cases=$2; shift ;;
    --faults) faults=$2; shift ;;
    --fs) fs=$2; shift ;;
    --swap) swap=$2; shift ;;
    --in-turn) in_turn=1 ;;
    --nested) nested=$2; shift ;;
    --seconds) seconds=$2; shift ;;
    --jobs) jobs=$2; shift ;;
    --share) share=$2; shift ;; # of --jobs: which one this is
    --cairn) cairn=$(realpath "$2"); shift ;;
    --work) work=$2; shift ;;
    --only) only=$2; shift ;;
    --show) show=$2; shift ;;
    --controls) controls=yes ;;
    *) echo "torture: unknown option $1; the beginning of $0 lists them" >&2; exit 2 ;;
    esac
    shift
done

need() { echo "torture: not tested: $1" >&2; exit 77; }
[[ $EUID -eq 0 ]] || need "mounting needs root"
PATH=$PATH:/usr/sbin:/sbin
for tool in strace unshare "mkfs.$fs" xfs_io losetup; do
    command -v "$tool" >/dev/null || need "$tool is not installed"
done
[[ -x $cairn ]] || need "$cairn is not there; cargo build -p cairn makes it"

# In a mount namespace of its own: a process elsewhere that makes one for itself would take copies of
# these mounts with it, and a file system that was shut down would live on behind its file.
if [[ -z ${CAIRN_TORTURE_APART-} ]]; then
    CAIRN_TORTURE_APART=1 exec unshare --mount --propagation private -- "$0" "${given[@]}"
fi

# Several jobs: each is this script with its share. A share is chosen by the number of the call and
# not by the line of a list, because each job takes its own trace, and two traces may differ.
if ((jobs > 1 && share == 0)) && [[ $controls == no ]]; then
    pids=() wrong=0
    trap 'kill "${pids[@]}" 2>/dev/null; wait; exit 130' INT TERM HUP
    for ((i = 1; i <= jobs; i++)); do
        "$0" "${given[@]}" --share "$i" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || wrong=1; done
    exit $wrong
fi

[[ -n $work ]] || work=$memory
work=$(mktemp -d "$work/cairn-torture.XXXXXX")
A=$work/a B=$work/b
mkdir "$A" "$B"
# A process that was just killed may still hold a mount for a while, and a file system that was shut down
# its loop device, the longer the busier the machine. What is only detached lives on: the same file cannot
# be mounted then, or would be mounted twice.
within_ten_seconds() { # COMMAND...
    local try
    for ((try = 0; try < 100; try++)); do
        "$@" 2>/dev/null && return
        sleep 0.1
    done
    return 1
}
is_free() { [[ -z $(losetup -j "$1") ]]; }
# Not asked of the directory: XFS that was shut down answers nothing.
is_mounted() { grep -qF " $1 " /proc/self/mountinfo; }
unmount() {
    local one
    for one in a b; do
        is_mounted "$work/$one" && { within_ten_seconds umount "$work/$one" || umount -l "$work/$one"; }
        within_ten_seconds is_free "$work/$one.img" || echo "torture: $work/$one.img stays in use" >&2
    done
}
trap 'unmount; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
fail() { echo "torture: $*" >&2; exit 2; }

# --- two file systems in files ------------------------------------------------------------------

case $fs in
ext4) size=40M make=(mkfs.ext4 -q -F -m 0 -E "lazy_itable_init=0,lazy_journal_init=0") ;;
xfs) size=320M make=(mkfs.xfs -q -f) ;;
btrfs) size=128M make=(mkfs.btrfs -q -f) ;;
*) fail "--fs is ext4, xfs or btrfs" ;;
esac
mount_both() {
    mount -o loop "$work/a.img" "$A" && mount -o loop "$work/b.img" "$B"
}
fresh() {
    unmount
    rm -f "$work"/[ab].img
    truncate -s $size "$work/a.img" "$work/b.img"
    "${make[@]}" "$work/a.img" >/dev/null && "${make[@]}" "$work/b.img" >/dev/null && mount_both
}
save() { # NAME: the state as it is now
    unmount
    cp --sparse=always "$work/a.img" "$work/$1.a" && cp --sparse=always "$work/b.img" "$work/$1.b" &&
        mount_both
}
restore() { # NAME
    unmount
    cp --sparse=always "$work/$1.a" "$work/a.img" && cp --sparse=always "$work/$1.b" "$work/b.img" &&
        mount_both || fail "cannot mount the state $1 again"
}
power_cut() {
    # Both at once as far as may be; -x because the command is not for every file system's users.
    xfs_io -x -c shutdown "$A" >/dev/null && xfs_io -x -c shutdown "$B" >/dev/null ||
        fail "$fs cannot be shut down"
    unmount
    mount_both
}

# --- a small world ------------------------------------------------------------------------------

VIEW=mirror/pub/rocky
write_config() {
    cat >"$work/cairn.toml" <<END
[store]
path = "$A/store"
[compose]
root = "$A/compose"
[mounts.staging]
path = "$A/staging"
keep_trees = "0s"
swap = "$swap"
[mounts.production]
path = "$B"
keep_trees = "0s"
max_deletes = "100%"
swap = "$swap"
[gate.production]
require = []
[keep]
last = 2
within = "0s"
grace = "0s"
trash = "0s"
END
    [[ $fs == btrfs || $fs == xfs ]] && sed -i 's/^swap/link = "hardlink"\n&/' "$work/cairn.toml"
    return 0
}
# Round N of the compose: some files stay, some change, some come and go; one is too large to be read
# whole, one is never linked, and there are a link, an empty file and a name with a newline.
compose() {
    local n=$1 dir=$A/compose/tree i
    mkdir -p "$dir/BaseOS/os/Packages" "$dir/empty" || return
    rm -f "$dir"/BaseOS/os/Packages/round-*
    for i in 1 2 3 4 5; do
        printf 'package %s of round %s' "$i" "$n" >"$dir/BaseOS/os/Packages/round-$n-$i.rpm"
        printf 'package %s of all rounds' "$i" >"$dir/BaseOS/os/Packages/stays-$i.rpm"
    done
    head -c $((1100000 + n)) /dev/zero | tr '\0' "$n" >"$dir/large.img"
    printf '%*s' "$n" x >"$dir/CHECKSUM"
    : >"$dir/nothing"
    printf 'odd' >"$dir/"$'new\nline'
    ln -sfn BaseOS "$dir/link"
    # Times in the past: a file of this very moment is not believed by its time.
    find "$dir" -depth -print0 | xargs -0 touch -h -d "2026-01-0$n 12:00:00"
}
c() { "$cairn" --config "$work/cairn.toml" --lock-wait 20s -j 2 "$@"; }
q() { c "$@" >"$work/q.out" 2>&1 || fail "preparing, cairn $*: $(cat "$work/q.out")"; }
cycle() { # N UP-TO
    compose "$1" || fail "cannot write the compose"
    q ingest --as compose/9/Rocky "$A/compose/tree"
    [[ $2 == ingest ]] && return
    q stage 9 Rocky --delete
    [[ $2 == stage ]] && return
    q promote 9 --delete
}
snapshot_of() { c --json show "$1" | grep -o '"snapshot": *"[0-9a-f]*"' | grep -o '[0-9a-f]\{64\}'; }

# What a view shows: every name, kind, mode, owner, size, time to the nanosecond, target and content.
# Times of access and change are nobody's promise, and which names share an inode is not either.
digest() {
    [[ -e $1 ]] || { echo none; return; }
    local sum
    sum=$(tar -C "$1" -c --sort=name --hard-dereference --numeric-owner --format=pax \
        --pax-option=delete=atime,delete=ctime,exthdr.name=%d/%f . | sha256sum) || { echo unreadable; return; }
    echo "${sum%% *}"
}
live() { echo "$(digest "$A/staging/$VIEW/9.7-RC2/") $(digest "$B/$VIEW/9.7/")"; }
operations() { (cd "$A/store/log" 2>/dev/null && sha256sum -- *.json 2>/dev/null) || true; }

# Prepares the state of a case, and says what its command is.
prepare() {
    local case=$1
    verb=() recovery=(publish)
    write_config
    fresh || fail "cannot make two $fs file systems"
    mkdir -p "$A/compose" "$A/staging"
    case $case in
    init)
        compose 1
        verb=(init) recovery=(init) ;;
    adopt)
        q init
        compose 1
        mkdir -p "$B/$VIEW"
        cp -a "$A/compose/tree" "$B/$VIEW/9.7"
        verb=(adopt production/9.7) ;;
    *)
        q init
        cycle 1 promote
        cycle 2 promote
        case $case in
        ingest)
            compose 3
            verb=(ingest --as compose/9/Rocky "$A/compose/tree") ;;
        stage)
            cycle 3 ingest
            verb=(stage 9 Rocky --delete) ;;
        promote)
            cycle 3 stage
            verb=(promote 9 --delete) ;;
        rollback)
            cycle 3 promote
            verb=(rollback production/9.7 --to "$(snapshot_of production/9.7~1)") ;;
        far)
            cycle 3 promote
            verb=(rollback production/9.7 --to "$(snapshot_of production/9.7~2)") ;;
        gc)
            cycle 3 promote
            q gc
            cycle 4 promote
            q gc
            cycle 5 promote
            verb=(gc) ;;
        index)
            cycle 3 promote
            rm "$A/store/index.redb"
            verb=(publish) ;;
        recover)
            # A promotion that was killed when it had been logged and nothing was swapped.
            cycle 3 stage
            save recover
            trace_of promote 9 --delete
            local next
            next=$(awk '/linkat\(.*\/log.*json/ { seen = 1; next }
                seen && $2 ~ /^(renameat2|renameat|rename|fsync|openat)\(/ { print NR; exit }' "$work/trace")
            [[ -n $next ]] || fail "the promotion links no operation"
            restore recover
            inject kill $(head -n "$next" "$work/trace" | awk '{ split($2, c, "("); n[$1 c[1]]++ }
                END { print c[1], n[$1 c[1]] }') promote 9 --delete
            [[ $rc -eq 137 ]] || fail "the promotion was not killed: $rc"
            verb=(publish) ;;
        *) fail "there is no case $case" ;;
        esac ;;
    esac
    save "$case"
    before=$(live) log_before=$(operations)
    c "${verb[@]}" >"$work/out" 2>&1 || fail "$case without a fault: $(cat "$work/out")"
    after=$(live)
    restore "$case"
}

# --- faults -------------------------------------------------------------------------------------

changing=openat,openat2,creat,write,pwrite64,writev,pwritev,copy_file_range,ioctl,ftruncate,fallocate
changing+=,fsync,fdatasync,syncfs,sync_file_range,link,linkat,rename,renameat,renameat2,unlink,unlinkat
changing+=,rmdir,mkdir,mkdirat,symlink,symlinkat,chmod,fchmod,fchmodat,utimensat,chown,fchown,fchownat,flock
naming=link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat
reading=read,pread64,preadv,getdents64,statx,newfstatat,fstat,readlinkat,lseek,mmap
optional() { local calls=${1//,/,?}; echo "?$calls"; }

trace_of() { # ARGS: every call of a command, with the files that its descriptors stand for
    strace -f -y -qq -e signal=none -s 200 -o "$work/trace" \
        -e "trace=$(optional "$changing,$reading")" \
        "$cairn" --config "$work/cairn.toml" --lock-wait 20s -j 2 "$@" >"$work/out" 2>&1 ||
        fail "cairn $* under strace: $(cat "$work/out")"
}
# The points of the trace: call and number in its thread, where it has to do with the two mounts.
#
# Of a kill and of a power cut only those that can leave a state of their own. A program that is
# killed at a call which only reads, locks or waits for the disk has left what it leaves at the next
# call that changes something, which is a point. (Not so the syncs of a power cut.)
points() { # CALLS FAULT
    local alike=
    case $2 in
    kill) alike=,flock,fsync,fdatasync,syncfs,sync_file_range, ;;
    cut) alike=,flock, ;;
    esac
    awk -v work="$work" -v wanted=",$1," -v alike="$alike" '
        $2 !~ /^[a-z0-9_]+\(/ { next }
        { split($2, c, "("); n = ++count[$1, c[1]] }
        alike != "" && index(alike, "," c[1] ",") { next }
        alike != "" && c[1] ~ /^openat/ && !/O_CREAT|O_TRUNC|O_TMPFILE/ { next }
        index($0, work) && index(wanted, "," c[1] ",") && !((c[1], n) in seen) {
            seen[c[1], n]; print c[1], n
        }' "$work/trace" | sort -k1,1 -k2,2n
}
calls_of() { # FAULT
    case $1 in
    EEXIST | ENOENT) echo $naming ;;
    EIO*) echo $changing,$reading ;;
    *) echo $changing ;;
    esac
}
# Of points those at which it is a fault's turn, among the faults that such a call can have.
turn_of() { # FAULT
    local fault
    for fault in ${faults//,/ }; do echo "$fault ,$(calls_of "$fault"),"; done |
        awk -v fault="$1" '
            NR == FNR { name[NR] = $1; calls[NR] = $2; next }
            {
                turn = -1
                total = 0
                for (i = 1; i in name; i++) {
                    if (!index(calls[i], "," $1 ",")) continue
                    if (name[i] == fault) turn = total
                    total++
                }
            }
            turn >= 0 && $2 % total == turn' - /dev/fd/3
}
inject() { # FAULT CALL N ARGS: sets rc
    local fault=$1 call=$2 n=$3 what stop=--seccomp-bpf
    shift 3
    case $fault in
    kill | cut) what=signal=SIGKILL:when=$n stop= ;;
    *+) what=error=${fault%+}:when=$n+ ;;
    *) what=error=$fault:when=$n ;;
    esac
    # In a shell of its own, because a shell says whom a signal killed.
    rc=$(
        exec 2>/dev/null
        strace -f $stop -qq -e signal=none -o /dev/null -e "trace=$call" -e "inject=$call:$what" \
            "$cairn" --config "$work/cairn.toml" --lock-wait 20s -j 2 "$@" >"$work/out" 2>&1
        echo $?
    )
}

# --- what must hold -----------------------------------------------------------------------------

intended() { # one of the two states, mount by mount
    local now=$1
    [[ ${now%% *} == "${before%% *}" || ${now%% *} == "${after%% *}" ]] &&
        [[ ${now##* } == "${before##* }" || ${now##* } == "${after##* }" ]]
}
bad() { echo "    BAD $label: $*"; return 1; }
old_operations() {
    [[ -z $log_before ]] || (cd "$A/store/log" && sha256sum --quiet -c <<<"$log_before") \
        >/dev/null 2>&1
}
# Judges the state after a fault. `rc` is how the command ended: 0 is a promise.
judge() {
    local now left
    now=$(live)
    intended "$now" || { bad "a mixture is live: $now"; return; }
    if [[ $rc -eq 0 && $now != "$after" ]]; then bad "reported done, and is not live"; return; fi
    old_operations || { bad "an operation that was logged is gone or changed"; return; }
    if [[ -e $A/store/format && ${verb[0]} != init ]]; then
        c fsck >"$work/out" 2>&1
        [[ $? -ne 13 ]] || { bad "damage before recovery: $(head -c 400 "$work/out")"; return; }
    fi
    if ((nested_here)); then
        trace_recovery || return
    fi
    c "${recovery[@]}" >"$work/out" 2>&1 ||
        { bad "the next command failed: $(head -c 400 "$work/out")"; return; }
    now=$(live)
    intended "$now" || { bad "a mixture is live after recovery"; return; }
    if [[ ($rc -eq 0 || $rc -eq 5) && $now != "$after" ]]; then
        bad "logged, and not live after recovery"; return
    fi
    c fsck --full >"$work/out" 2>&1 || { bad "fsck: $(head -c 400 "$work/out")"; return; }
    c "${verb[@]}" >"$work/out" 2>&1 ||
        { bad "the command again failed: $(head -c 400 "$work/out")"; return; }
    [[ $(live) == "$after" ]] || { bad "the command again leads elsewhere"; return; }
    old_operations || { bad "an operation is gone after all"; return; }
    c fsck --full >"$work/out" 2>&1 || { bad "fsck in the end: $(head -c 400 "$work/out")"; return; }
    left=$(find "$A/store" "$B/.cairn" "$A/staging/.cairn" -mindepth 1 \( -path '*/.cairn/tmp/*' \
        -o -name '.tmp*' -o -path '*/.cairn/objects/*' -name '.*' ! -name '.trash-*' \) 2>/dev/null)
    [[ -z $left ]] || { bad "left over: $left"; return; }
}
# Kills the recovery at a point of its own, two generations deep.
trace_recovery() {
    local call n
    read -r call n < <(shuf -n 1 --random-source=<(yes "$label") <<<"$recovery_points")
    [[ -n ${call:-} ]] || return 0
    local first=$rc
    inject kill "$call" "$n" "${recovery[@]}"
    [[ $rc -eq 137 ]] && killed_twice=$((killed_twice + 1))
    rc=$first
    intended "$(live)" || bad "a mixture is live after a killed recovery"
}

# --- the run ------------------------------------------------------------------------------------

declare -i tried=0 wrong=0 skipped=0 killed_twice=0 nested_here=0
over() { ((seconds > 0 && SECONDS >= seconds)); }

run_case() {
    local case=$1 fault call n all list total bad_here started
    prepare "$case"
    trace_of "${verb[@]}"
    cp "$work/trace" "$work/trace.case"
    recovery_points=
    if ((nested)); then
        restore "$case"
        # What recovery does after a kill half-way is what it is to be killed in.
        list=$(points "$changing" kill)
        read -r call n < <(sed -n "$((($(wc -l <<<"$list") + 1) * 2 / 3))p" <<<"$list")
        inject kill "$call" "$n" "${verb[@]}"
        trace_of "${recovery[@]}"
        recovery_points=$(points "$changing" kill)
        cp "$work/trace.case" "$work/trace"
    fi
    for fault in ${faults//,/ }; do
        [[ $fault == cut && $fs == btrfs ]] && { echo "  $case cut: not tested: btrfs knows no such shutdown"; continue; }
        all=$(points "$(calls_of "$fault")" "$fault")
        [[ -z $only ]] || all=$(grep -x "$only" <<<"$all")
        ((in_turn == 0)) || all=$(turn_of "$fault" 3<<<"$all")
        list=$(awk -v e="$every" -v o="$offset" 'NR % e == o % e' <<<"$all")
        # However few there are, one of them: the middle one.
        [[ -n $list ]] || list=$(sed -n "$((($(wc -l <<<"$all") + 1) / 2))p" <<<"$all")
        ((share == 0)) || list=$(awk -v e="$every" -v j="$jobs" -v s="$share" \
            'int($2 / e) % j == s - 1' <<<"$list")
        # After the last call: what was promised must survive the cut.
        [[ $fault == cut && $share -le 1 ]] && list+=$'\n''none 1'
        total=0 bad_here=0 started=$SECONDS
        declare -A codes=()
        while read -r call n; do
            [[ -n $call ]] || continue
            if over; then skipped+=1; continue; fi
            restore "$case"
            label="$case, $fault at $call #$n"
            if [[ $call == none ]]; then
                c "${verb[@]}" >"$work/out" 2>&1
                rc=$?
            else
                inject "$fault" "$call" "$n" "${verb[@]}"
            fi
            nested_here=0
            [[ $fault == kill ]] && ((nested > 0 && total % nested == 0)) && nested_here=1
            total=$((total + 1)) tried+=1
            codes[$rc]=$((${codes[$rc]:-0} + 1))
            [[ -z $show || $rc != "$show" ]] || { echo "  $label: $rc"; cat "$work/out"; }
            # 127: what failed was the loader; the program never ran.
            if [[ $fault == cut ]]; then
                power_cut || { bad "cannot be mounted after the cut"; wrong+=1; continue; }
            elif [[ $fault != kill ]] && ((rc == 101 || rc == 70 || rc == 13 || rc > 128)); then
                # A bug, damage where there is none, or a death.
                bad "ended with $rc: $(tail -n 3 "$work/out")"
                wrong+=1 bad_here=$((bad_here + 1))
                continue
            elif [[ $fault != kill && $rc -ne 0 && $rc -ne 127 && $call$fault != write*+ ]] &&
                [[ $call != write || -s $work/out ]] &&
                ! grep -Eq '^(error|warning|note): |pending|not finished: |is not as it was published \(' "$work/out"; then
                # (Of writes that fail from now on, those to stderr are some; and each thread has an n-th
                # write, of which the one to stderr may be one.)
                bad "failed with $rc and no reason: $(tail -n 3 "$work/out")"
                wrong+=1 bad_here=$((bad_here + 1))
                continue
            fi
            judge || { wrong+=1 bad_here=$((bad_here + 1)); }
        done <<<"$list"
        # (That one point is not reached is chance: threads share their work as they like.)
        if [[ $fault == kill ]] && ((total > 9 && ${codes[137]:-0} == 0)); then
            label="$case, kill"
            bad "of $total kills none killed"
            wrong+=1 bad_here=$((bad_here + 1))
        fi
        local seen= code
        for code in "${!codes[@]}"; do seen+=" $code×${codes[$code]}"; done
        unset codes
        printf '  %-9s %-8s %4d of %4d points, %d bad, exit%s, %d s\n' "$case" "$fault" \
            "$total" "$(wc -l <<<"$all")" "$bad_here" "${seen:- -}" $((SECONDS - started))
    done
}

# --- negative controls --------------------------------------------------------------------------

# Each breaks something; a check that does not see it is worth nothing.
control() { # LABEL: judge must find it
    label=$1
    if judge >"$work/control" 2>&1; then
        echo "  MISSED $label"
        wrong+=1
    else
        echo "  found  $label: $(sed 's/^ *BAD [^:]*: //' "$work/control" | head -c 90 | head -n 1)"
    fi
    tried+=1
}
run_controls() {
    local file pid
    prepare promote
    rc=0
    c "${verb[@]}" >/dev/null 2>&1
    judge || fail "a sound promotion is judged bad"

    restore promote; rc=0
    control "a promotion that says done and did nothing"
    restore promote; rc=137
    rm "$B/$VIEW/9.7/large.img"
    control "a file that is missing from the live tree"
    restore promote; rc=137
    printf X | dd of="$B/$VIEW/9.7/BaseOS/os/Packages/stays-1.rpm" conv=notrunc status=none
    control "a byte that differs in the live tree"
    restore promote; rc=137
    rm "$(find "$A/store/log" -name '*.json' | sort | tail -n 1)"
    control "an operation that is lost"
    restore promote; rc=137
    rm "$(find "$A/store/packs" -name '*.pack' | sort | head -n 1)"
    control "a pack that is lost"
    restore promote; rc=137
    # Of the third round, which production does not have yet: there is no other copy.
    file=$(find "$A/staging/.cairn/objects" -type f -size 1100003c)
    rm "$file" || fail "there is no such object"
    control "an object that is lost"
    restore promote; rc=137
    c "${verb[@]}" >/dev/null 2>&1
    rc=137
    cp -a "$A/staging/$VIEW/9.7-RC2/BaseOS/os/Packages/stays-2.rpm" "$B/$VIEW/9.7/stray.rpm"
    control "a tree that is half of one and half of another"

    [[ $fs == btrfs ]] && return
    # A power cut after a command that was not let sync anything: what it promised is lost.
    restore promote
    strace -f -qq -e signal=none -o /dev/null -e 'trace=fsync,fdatasync,syncfs' \
        -e 'inject=fsync,fdatasync,syncfs:retval=0' \
        "$cairn" --config "$work/cairn.toml" "${verb[@]}" >/dev/null 2>&1
    rc=$?
    [[ $rc -eq 0 ]] || fail "the promotion without syncs ended with $rc"
    power_cut || true
    control "a power cut of a promotion whose syncs were left out"
}

SECONDS=0
if [[ $controls == yes ]]; then
    run_controls
    echo "$fs: $tried controls, $wrong missed, $SECONDS s"
else
    for case in ${cases//,/ }; do run_case "$case"; done
    echo "$fs, $swap: $tried points, $wrong bad, $killed_twice killed in recovery too, $skipped left out by --seconds, $SECONDS s"
fi
((wrong == 0))
