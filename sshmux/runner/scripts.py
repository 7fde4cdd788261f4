"""What runs on the remote: POSIX sh, made from checked values. Pure.

Scripts travel on stdin or inside an archive, never on a command line; whatever comes from a user is
a quoted word in them. All of a job is in its own directory, 0700, below the runner's:

    events          the journal of all jobs: one line for each start and end
    TOKEN/meta      what the job is, for programs that find it
    TOKEN/wrap      the wrapper: takes the owner lock, runs the payload, writes `start` and `end`
    TOKEN/run       the payload: environment, set-up, and then the script or the command
    TOKEN/submit    the submit command; submit.lock, submit.out, submit.err, submit.rc tell its end
    TOKEN/work      the working directory
    TOKEN/out, err  what the payload writes; TOKEN/log what the scheduler writes about it
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

quote = shlex.quote

SUBMIT_TIMEOUT = 60  # seconds that a submit command may take

# Which process a pid means: its start, the boot of its system, its host.
_STAMP = """\
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
_MARKED = """\
marked() { # TOKEN: the pids with its mark
    grep -lzs "^SSHMUX_JOB=$1\\$" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ m _; do
        begun "$m" >/dev/null && echo "$m"
    done
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
{shell} ./run </dev/null >>"out$s" 2>>"err$s" &
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
        for m in $(marked "$token"); do kill -$n "$m" 2>/dev/null; done
        kill -$n "$p" 2>/dev/null
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
        parts += [_STAMP, _MARKED, _WRAP_PID]
        parts += [_WRAP_AFTER] if after else []
    elif after:
        parts.append(_WRAP_RESULTS)
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
        f"cd {_directory(cwd) if cwd is not None else quote(directory + '/work')} || exit 53",
        *([f"ulimit -v {memory_kib} || exit 53"] if memory_kib is not None else []),
        *setup,
    ]
    if script is not None:
        words = [*interpreter(script), f"{directory}/script"]
    else:
        words = list(argv or ())
    lines.append(f"exec {' '.join(quote(word) for word in words)}")
    return "\n".join(lines) + "\n"


def _directory(path: str) -> str:
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


# A session of its own, so that nothing that ends the connection's session ends it.
_DETACH = """\
detach() {
    if command -v setsid >/dev/null 2>&1; then exec setsid "$@"
    elif command -v perl >/dev/null 2>&1; then
        exec perl -MPOSIX -e 'POSIX::setsid(); exec @ARGV or exit 127' "$@"
    elif command -v python3 >/dev/null 2>&1; then
        exec python3 -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
    else exec nohup "$@"; fi
}
"""


def submit_command(words: Sequence[str], *, stdin: str | None) -> str:
    """The file `submit`: runs the submit command, and keeps its end whoever waits for it."""
    line = " ".join(quote(word) for word in words)
    source = "/dev/null" if stdin is None else quote(stdin)
    return f"""\
t=
if command -v timeout >/dev/null 2>&1; then t='timeout {SUBMIT_TIMEOUT}'; fi
$t {line} <{source} >submit.out 2>submit.err
printf '%s %s\\n' $? "$(date +%s)" >submit.rc.new && mv -f submit.rc.new submit.rc
"""


# Run where the archive was unpacked, as its last entry: that it is there says that all is there.
_STAGE = """\
umask 077
nonce={nonce}
tokens={tokens}
for t in $tokens; do
    if [ -f "$t/sums" ] && ! ( cd "$t/work" && sha256sum -c ../sums ) >/dev/null 2>&1; then
        rm -rf "$t"
        continue
    fi
    # A rename: the directory is there whole, or not at all. Who comes second lets the first be.
    [ -e "../$t" ] || [ -L "../$t" ] || mv "$t" "../$t" 2>/dev/null
    [ ! -d "../$t/$t" ] || rm -rf "../$t/$t"
done
cd .. && rm -rf ".stage-$nonce"
"""

_LAUNCH = (
    _DETACH
    + """\
launch() { # TOKEN: runs its submit command, unless that was begun before
    cd "$1" || return
    [ ! -e cancel ] || return
    mkdir submit.lock 2>/dev/null || return
    date +%s >submit.lock/at
    if [ -e shell ]; then
        ( detach sh ./wrap </dev/null >log 2>&1 ) &
        echo $! >submit.out
        printf '0 %s\\n' "$(date +%s)" >submit.rc.new && mv -f submit.rc.new submit.rc
        return
    fi
    ( detach sh ./submit </dev/null >/dev/null 2>&1 ) &
    wait $!
}
n=0
for t in $tokens; do
    case $t in sm????????????) ;; *) continue ;; esac
    ( launch "$t" ) &
    n=$((n + 1))
    [ $((n % 4)) -ne 0 ] || wait
done
wait
: >>events
"""
)

# `@TOKEN`, then a word and a value a line. The liveness of a process is looked at before its
# `end` file: what is gone has written all that it will write.
_LOOK = (
    _STAMP
    + _MARKED
    + """\
host=$(uname -n) now=$(date +%s)
f() { # NAME WORD
    l=
    [ -f "$1" ] && { IFS= read -r l <"$1" || [ -n "$l" ]; } && printf '%s %.400s\\n' "$2" "$l"
}
lines() { # WORD
    while IFS= read -r l || [ -n "$l" ]; do printf '%s %.400s\\n' "$1" "$l"; done
}
living() { # TOKEN
    p=
    { read -r p st bo ho <pid; } 2>/dev/null || return
    case $p in ''|*[!0-9]*) return ;; esac
    if [ "$ho" != "$host" ]; then echo "alive elsewhere $ho"
    elif [ "$bo" != "$(boot)" ]; then echo "alive rebooted"
    elif [ "$(begun "$p")" = "$st" ]; then echo "alive yes"
    elif [ -n "$(marked "$1")" ]; then echo "alive orphans"
    else echo "alive no"; fi
}
look() { # TOKEN
    echo "@$1"
    if [ -L "$1" ] || [ ! -d "$1" ]; then echo absent; return; fi
    cd "$1" || { echo absent; return; }
    [ ! -e shell ] || [ -e end ] || living "$1"
    f submit.lock/at lock; f submit.rc rc; f owner owner; f start start; f end end
    f cancel cancel; f timeout timeout
    l=; [ -f meta ] && IFS= read -r l <meta && printf 'meta %.4000s\\n' "$l"
    [ -e end ] || echo "now $now"
    if [ -e submit.rc ]; then
        [ -e owner ] || lines submitout <submit.out
        [ -e owner ] || [ ! -s submit.err ] || head -n 20 submit.err | lines submiterr
    fi
    if [ -e array ]; then
        for x in start.* end.* cancel.*; do case $x in *.new|*'*') ;; *) f "$x" "$x" ;; esac; done
    fi
    if [ "$tails" = 1 ]; then
        for x in err log; do
            [ -f $x ] && [ ! -L $x ] && tail -c 2000 $x | tail -n 20 | lines tail$x
        done
    fi
}
for t in $looked; do
    case $t in sm????????????) ( look "$t" ) ;; esac
done
echo "=done $nonce"
"""
)


def stage(nonce: str, tokens: Sequence[str], launched: Sequence[str]) -> str:
    """The last file of the archive: puts the jobs in place, submits some, tells what is there."""
    head = _STAGE.replace("{nonce}", nonce).replace("{tokens}", quote(" ".join(tokens)))
    return head + launch(nonce, launched)


def launch(nonce: str, tokens: Sequence[str]) -> str:
    """Submits staged jobs, in the runner's directory, and tells what is there."""
    names = quote(" ".join(tokens))
    body = _LAUNCH if tokens else ": >>events\n"
    return f"tokens={names}\n{body}{_looked(nonce, tokens)}"


def _looked(nonce: str, tokens: Sequence[str], tails: bool = False) -> str:
    names = quote(" ".join(tokens))
    return f"nonce={nonce}\nlooked={names}\ntails={int(tails)}\n{_LOOK}"


def look(
    root: str,
    nonce: str,
    tokens: Sequence[str] | None,
    *,
    queue: Sequence[str] = (),
    history: Sequence[str] = (),
    tails: bool = False,
) -> str:
    """Asks the scheduler, if there is one, and then looks at the jobs' files; None for all.

    The scheduler first: a job that ends between the two has written its end by then.
    """
    parts = [f"cd {quote(root)} || exit 53\n"]
    for name, words in (("queue", queue), ("history", history)):
        if words:
            line = " ".join(quote(word) for word in words)
            parts.append(
                f"echo '={name} {nonce}'\n{line} </dev/null\necho \"={name} {nonce} $?\"\n"
            )
    if tokens is None:
        parts.append(f"nonce={nonce}\nlooked=$(echo sm????????????)\ntails={int(tails)}\n{_LOOK}")
    else:
        parts.append(_looked(nonce, tokens, tails))
    return "".join(parts)


def unpack(root: str, nonce: str) -> list[str]:
    """A command that reads an archive on stdin and runs the `stage` in it."""
    line = (
        'umask 077; mkdir -p "$1" && chmod 700 "$1" && cd "$1" && mkdir -p ".stage-$2" && '
        'cd ".stage-$2" && tar -xf - && exec sh ./stage'
    )
    return ["sh", "-c", line, "sshmux", root, nonce]


def retry(root: str, token: str, stamp: str) -> str:
    """Puts the lock of a submission that came to nothing aside, so that it can be tried again.

    `stamp` names the lock that was seen: another program may have been quicker.
    """
    return f"""\
cd {quote(root)}/{token} || exit 53
l=
IFS= read -r l <submit.lock/at
[ "$l" = {quote(stamp)} ] || exit 0
[ ! -e owner ] || exit 0
n=1; while [ -e "submit.old.$n" ]; do n=$((n + 1)); done
mv submit.lock "submit.old.$n" || exit 0
for x in out err rc; do [ ! -e submit.$x ] || mv -f submit.$x "submit.old.$n/$x"; done
"""


def cancel_file(root: str, token: str, index: int | None = None) -> str:
    """Says in a job's directory that it, or a task of it, was cancelled, before it is ended."""
    task = "" if index is None else f".{index}"
    return f"""\
umask 077
cd {quote(root)} && [ -d {token} ] && [ ! -L {token} ] && cd {token} || exit 53
[ -e end{task} ] || date +%s >cancel{task}
"""


def kill(root: str, token: str, grace: float) -> str:
    """Ends a shell job with all its processes: SIGTERM, up to `grace` seconds, SIGKILL."""
    return (
        f"umask 077\ncd {quote(root)}/{token} || exit 53\ntoken={token}\ntries={int(grace * 10)}\n"
        + _STAMP
        + _MARKED
        + """\
wrapper() { # its pid, while it lives
    p=
    { read -r p st bo ho <pid; } 2>/dev/null || return
    case $p in ''|0|1|*[!0-9]*) return ;; esac
    [ "$ho" = "$(uname -n)" ] && [ "$bo" = "$(boot)" ] && [ "$(begun "$p")" = "$st" ] && echo "$p"
}
all() { # the payload's processes; without /proc, the wrapper's group
    if [ -r /proc/self/environ ]; then marked "$token"
    else w=$(wrapper); [ -z "$w" ] || ps -A -o pid= -o pgid= | while read -r q g; do
        [ "$g" != "$w" ] || [ "$q" = "$w" ] || echo "$q"; done; fi
}
nap() { sleep 0.1 2>/dev/null || sleep 1; }
end() { for m in $(all); do kill -$1 "$m" 2>/dev/null; done; }
[ -e submit.lock ] || mkdir submit.lock 2>/dev/null
w=$(wrapper)
if [ ! -e start ] && [ -n "$w" ]; then kill -TERM "$w"; nap; nap; fi
end TERM
n=0
while [ -n "$(all)" ] && [ $n -lt $tries ]; do n=$((n + 1)); nap; done
k=0
while [ -n "$(all)" ] && [ $k -lt 20 ]; do end KILL; k=$((k + 1)); nap; done
k=0
while [ -n "$(wrapper)" ] && [ ! -e end ] && [ $k -lt 30 ]; do k=$((k + 1)); nap; done
if [ ! -e end ]; then
    w=$(wrapper)
    [ -z "$w" ] || kill -KILL "$w"
    o=-; IFS= read -r o 2>/dev/null <owner
    printf '143 TERM %s %s 0\\n' "${o:--}" "$(date +%s)" >end.new && mv -f end.new end
    printf 'end %s 143 TERM\\n' "$token" >>../events
fi
"""
    )


def watch(root: str, nonce: str) -> str:
    """Follows the journal, and adds to each line of it what the job's own file says.

    It is tied to its stdin: when the connection is lost, `cat` ends, and all of it is ended.
    """
    return f"""\
cd {quote(root)} || exit 53
: >>events
[ -z "$(find events -size +20480 2>/dev/null)" ] || mv events events.old
: >>events
echo '=watching {nonce}'
tail -n 0 -F events 2>/dev/null | while read -r kind name rest; do
    t=${{name%%.*}} s=
    case $name in *.*) s=.${{name#*.}} ;; esac
    case $t in sm????????????) ;; *) continue ;; esac
    case $s in *[!.0-9]*) continue ;; esac
    case $kind in start|end|dup) ;; *) continue ;; esac
    l=
    [ ! -f "$t/$kind$s" ] || IFS= read -r l <"$t/$kind$s"
    printf '%s %s %.400s\\n' "$kind" "$name" "$l"
done &
cat >/dev/null
trap '' TERM
kill -TERM 0
"""


def hello(directory: str, probes: Mapping[str, str]) -> str:
    """Asks who we are, where the jobs are to live, and which schedulers there are."""
    place = _directory(directory)
    checks = "".join(
        f"v=$( ( {line} ) 2>/dev/null </dev/null | head -n 1 | cut -c 1-200) && "
        f'[ -n "$v" ] && printf \'scheduler %s %s\\n\' {quote(name)} "$v"\n'
        for name, line in probes.items()
    )
    return f"""\
umask 077
mkdir -p {place} && chmod 700 {place} && cd {place} || exit 53
printf 'root %s\\n' "$(pwd -P)"
printf 'user %s\\n' "$(id -un)"
printf 'time %s\\n' "$(date +%s)"
{checks}echo done
"""


def remove(root: str, token: str) -> str:
    """Removes a job's directory, and what interrupted stagings left."""
    return f"""\
cd {quote(root)} || exit 53
if [ -L {token} ]; then rm -f {token}; else
    chmod -R u+rwX {token} 2>/dev/null
    rm -rf {token}
fi
find . -maxdepth 1 -name '.stage-*' -mtime +1 -exec rm -rf {{}} + 2>/dev/null
[ ! -e {token} ]
"""


def chunk(root: str, wanted: Sequence[tuple[str, str, int]], limit: int, nonce: str) -> str:
    """Reads pieces of files: (token, file name, offset in bytes), at most `limit` bytes of each.

    For each: a line `=piece NONCE SIZE`, then so many bytes.
    """
    lines = [f"cd {quote(root)} || exit 53\n"]
    for token, name, offset in wanted:
        path = quote(f"{token}/{name}")
        lines.append(
            f"n=0; [ -f {path} ] && n=$(wc -c <{path}); n=$((n - {offset})); "
            f"[ $n -gt 0 ] || n=0; [ $n -le {limit} ] || n={limit}; echo '={nonce}' $n; "
            f"[ $n -eq 0 ] || tail -c +{offset + 1} {path} | head -c $n\n"
        )
    return "".join(lines)


def follow(root: str, token: str, name: str, offset: int) -> str:
    """Follows a file from an offset, until stdin ends."""
    return f"""\
cd {quote(root)}/{token} || exit 53
: >>{name}
tail -c +{offset + 1} -f {name} &
cat >/dev/null
trap '' TERM
kill -TERM 0
"""


def listing(root: str, token: str) -> str:
    """Lists a job's regular files and directories, NUL between them. No link is followed."""
    return f"""\
cd {quote(root)}/{token}/work || exit 53
find . -type d -exec printf 'd%s\\0' {{}} + -o -type f -exec printf 'f%s\\0' {{}} +
"""


def archive(root: str, token: str) -> list[str]:
    """A command that reads names on stdin, NUL between them, and writes their archive."""
    line = 'cd "$1" || exit 53; exec tar -cf - --no-recursion --null -T -'
    return ["sh", "-c", line, "sshmux", f"{root}/{token}/work"]
