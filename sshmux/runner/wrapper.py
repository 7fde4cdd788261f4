"""What runs as a job: its wrapper and its payload, as POSIX sh made from checked values. Pure.

The files of a job's directory are listed in `scripts`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

quote = shlex.quote

# Which process a pid means: its start, the boot of its system, its host.
STAMP = """\
boot() { b=; [ -r /proc/sys/kernel/random/boot_id ] && read -r b </proc/sys/kernel/random/boot_id
echo "${b:-unknown}"; }
begun() { # PID: when it started; nothing if there is no such process, or only a zombie
    if [ -r /proc/self/stat ]; then
        { IFS= read -r s <"/proc/$1/stat"; } 2>/dev/null || return 1
        s=${s##*") "}; set -f; set -- $s; set +f
        case $1 in Z|X) return 1 ;; esac
        shift 19; echo "$1"
    else
        s=$(ps -o stat= -o lstart= -p "$1" 2>/dev/null) || return 1
        case $s in ''|Z*) return 1 ;; esac
        echo $s | cut -d' ' -f2- | tr ' ' _
    fi
}
"""

# All processes of a job, those included that have left its group and session: by an environment
# variable that only the payload has.
MARKED = """\
marked() { # TOKEN: the pids with its mark
    grep -lzs "^SSHMUX_JOB=$1\\$" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ m _; do
        begun "$m" >/dev/null && echo "$m"
    done
}
tell() { # SIGNAL PID...: all of them at once, so that no shell goes on with its next command
    what=$1
    shift
    [ $# = 0 ] || { kill -STOP "$@"; kill -"$what" "$@"; kill -CONT "$@"; } 2>/dev/null
}
"""

_WRAP_HEAD = """\
#!/bin/sh
# A job of sshmux. `meta` tells what it is; this file runs it, once.
umask 077
cd {directory} || exit 53
token={token}
{identity}
s=
[ -z "$task" ] || s=.$task
host=$(uname -n)
[ -n "$id" ] || exit 53
mine=owner.$host.$$
printf '%s\\n' "$id" >"$mine" || exit 53
# A submit command may have been repeated: who comes second does nothing.
if ! ln "$mine" owner 2>/dev/null && ! (set -C; cat "$mine" >owner) 2>/dev/null; then
    o=
    IFS= read -r o <owner
    if [ "$o" != "$id" ]; then
        rm -f "$mine"
        printf 'dup %s %s\\n' "$token" "$id" >>../events
        exit 0
    fi
fi
rm -f "$mine"
if [ -e cancel ] || [ -e "cancel$s" ]; then
    printf '143 TERM %s %s 0\\n' "$id" "$(date +%s)" >"end$s.new" && mv -f "end$s.new" "end$s"
    printf 'end %s%s 143 TERM\\n' "$token" "$s" >>../events
    exit 1
fi
"""

_WRAP_PID = """\
printf '%s %s %s %s\\n' $$ "$(begun $$)" "$(boot)" "$host" >pid.new && mv -f pid.new pid
"""

# A scheduler runs a job again whose node was lost before it had heard of the end.
_WRAP_AGAIN = """\
rc= sig= oom=
{ read -r rc sig _ _ oom <"end$s"; } 2>/dev/null
if [ "$rc $sig $oom" = '0 - 0' ]; then
    printf 'end %s%s 0 -\\n' "$token" "$s" >>../events
    exit 0
fi
"""

# For jobs that no scheduler queues: wait for other jobs here, so that it works with no program.
_WRAP_AFTER = """\
finish() { printf '%s - %s %s 0\\n' "$1" "$id" "$(date +%s)" >end.new && mv -f end.new end
    printf 'end %s %s -\\n' "$token" "$1" >>../events; exit 1; }
while read -r kind parent; do
    gone=0
    while [ ! -e "$parent/end" ] && [ $gone -lt 3 ]; do
        [ ! -e cancel ] || finish 143
        p=
        { read -r p st _ ho <"$parent/pid"; } 2>/dev/null
        if [ ! -d "$parent" ] || { [ "$ho" = "$host" ] && [ "$(begun "$p")" != "$st" ]; }; then
            gone=$((gone + 1))
        fi
        sleep 1
    done
    rc=lost
    { read -r rc _ <"$parent/end"; } 2>/dev/null
    case $kind.$rc in
        any.*|ok.0) ;;
        ok.*|failed.0) finish never ;;
    esac
done <after
[ ! -e cancel ] || finish 143
"""

# For schedulers that let a job wait for the end of another, whatever that is. The files of one
# that has just ended on another node may be late on this one.
_WRAP_RESULTS = """\
well() { # DIRECTORY TASK: whether all of it has ended, and with 0
    want=1
    if [ -n "$2" ]; then set -- "$1/end.$2"
    elif [ -e "$1/array" ]; then
        { read -r _; read -r want; } <"$1/array"
        set -- "$1"/end.[0-9]*
    else set -- "$1/end"; fi
    got=0 good=0
    for e; do
        rc=
        { read -r rc _ _ _ oom <"$e"; } 2>/dev/null && got=$((got + 1))
        [ "$rc.$oom" != 0.0 ] || good=$((good + 1))
    done
    [ "$good" = "$want" ]
}
never() {
    printf 'never - %s %s 0\\n' "$id" "$(date +%s)" >"end$s.new" && mv -f "end$s.new" "end$s"
    printf 'end %s%s never -\\n' "$token" "$s" >>../events
    exit 1
}
while read -r kind parent task; do
    for n in 1 2 3 4 5; do
        ls "$parent" >/dev/null 2>&1
        if well "$parent" "$task"; then break; fi
        [ "$got" -lt "$want" ] || break
        sleep 1
    done
    if well "$parent" "$task"; then [ "$kind" != failed ] || never
    else [ "$kind" != ok ] || never; fi
done <after
"""

_WRAP_RUN = """\
oomkills() { # how many processes the kernel ended in this job's own memory cgroup
    n=0
    [ -r /proc/self/cgroup ] && while IFS=: read -r _ c p; do
        case $p in *"$id"*) ;; *) continue ;; esac
        case ,$c, in
            *,memory,*) f=/sys/fs/cgroup/memory$p/memory.oom_control ;;
            ,,) f=/sys/fs/cgroup$p/memory.events ;;
            *) continue ;;
        esac
        [ -r "$f" ] && while read -r k v; do [ "$k" != oom_kill ] || n=$v; done <"$f"
    done </proc/self/cgroup
    echo "$n"
}
rm -f "end$s"
printf '%s %s %s %s\\n' "$id" "${restarts:-0}" "$host" "$(date +%s)" >"start$s.new" &&
    mv -f "start$s.new" "start$s"
printf 'start %s%s %s\\n' "$token" "$s" "$id" >>../events
sig= p=
# A scheduler signals this script and its children. The payload is to have time to end by itself.
for n in TERM INT USR1 USR2 HUP XCPU; do
    trap "sig=$n; [ -z \\"\\$p\\" ] || kill -$n \\"\\$p\\" 2>/dev/null" $n
done
export SSHMUX_TASK="$task"
SSHMUX_JOB=$token {shell} ./run </dev/null >>"out$s" 2>>"err$s" &
p=$!
{limit}while :; do wait "$p"; rc=$?; kill -0 "$p" 2>/dev/null || break; done
{unlimit}oom=$(oomkills)
for n in 1 2 3 4 5; do # a disk may be full for a moment
    { printf '%s %s %s %s %s\\n' "$rc" "${sig:--}" "$id" "$(date +%s)" "$oom" >"end$s.new" &&
        mv -f "end$s.new" "end$s"; } 2>/dev/null && break
    sleep 1
done
printf 'end %s%s %s %s\\n' "$token" "$s" "$rc" "${sig:--}" >>../events
"""

# Only for shell jobs: nobody else enforces their time limit.
_LIMIT = """\
( z=; trap 'kill "$z" 2>/dev/null; exit' TERM; sleep {seconds} & z=$!; wait "$z"; trap '' TERM
    date +%s >timeout
    for n in TERM KILL; do
        tell $n "$p" $(marked "$token")
        [ $n = KILL ] || sleep 5
    done ) </dev/null >/dev/null 2>&1 & watchdog=$!
"""
_UNLIMIT = 'kill "$watchdog" 2>/dev/null\n'


def wrapper(
    token: str,
    directory: str,
    identity: str,
    *,
    scheduler: bool,
    login_shell: bool,
    reserved: Iterable[int] = (),
    seconds: int | None = None,
    after: bool = False,
) -> str:
    """The wrapper of a job. `scheduler`: somebody else queues it, and enforces its limits."""
    shell = "sh"
    if login_shell:
        shell = "$(command -v bash || echo sh) -l"
    head = _WRAP_HEAD.replace("{directory}", quote(directory)).replace("{token}", token)
    run = _WRAP_RUN.replace("{shell}", shell)
    if seconds is None or scheduler:
        run = run.replace("{limit}", "").replace("{unlimit}", "")
    else:
        run = run.replace("{limit}", _LIMIT.replace("{seconds}", str(seconds)))
        run = run.replace("{unlimit}", _UNLIMIT)
    parts = [head.replace("{identity}", identity.strip("\n"))]
    if not scheduler:
        parts += [STAMP, MARKED, _WRAP_PID]
        parts += [_WRAP_AFTER] if after else []
    else:
        parts += [_WRAP_AGAIN]
        parts += [_WRAP_RESULTS] if after else []
    parts.append(run)
    codes = "|".join(str(code) for code in sorted(reserved))
    if codes:
        parts.append(f"case $rc in {codes}) rc=1 ;; esac\n")
    parts.append('exit "$rc"\n')
    return "".join(parts)


def payload(
    token: str,
    directory: str,
    *,
    env: Mapping[str, str],
    cwd: str | None,
    setup: Sequence[str],
    script: str | None,
    argv: Sequence[str] | None,
    memory_kib: int | None = None,
) -> str:
    """What the wrapper runs: the environment, the directory, set-up lines, and the payload."""
    lines = [
        f"export SSHMUX_JOB={token}",
        f"export SSHMUX_DIR={quote(directory)}",
        *(f"export {name}={quote(value)}" for name, value in env.items()),
        f"cd {directory_word(cwd) if cwd is not None else quote(directory + '/work')} || exit 53",
        *([f"ulimit -v {memory_kib} || exit 53"] if memory_kib is not None else []),
        *setup,
    ]
    if script is not None:
        words = [*interpreter(script), f"{directory}/script"]
    else:
        words = list(argv or ())
    lines.append(f"exec {' '.join(quote(word) for word in words)}")
    return "\n".join(lines) + "\n"


def directory_word(path: str) -> str:
    """A directory for `cd`; a home directory's `~` stays the shell's to read."""
    if path == "~":
        return path
    return f"~/{quote(path[2:])}" if path.startswith("~/") else quote(path)


def interpreter(script: str) -> list[str]:
    """What runs a script, as the kernel reads its first line: its file system may be noexec."""
    first = script.split("\n", 1)[0]
    if not first.startswith("#!"):
        return ["sh"]
    program, _, argument = first[2:].strip().partition(" ")
    return [word for word in (program, argument.strip()) if word] or ["sh"]
