"""What the runner runs on the remote: POSIX sh, made from checked values. Pure. Jobs: `wrapper`;
how they are put into place and submitted: `launching`.

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
from collections.abc import Mapping, Sequence

from .wrapper import MARKED, STAMP, directory_word

quote = shlex.quote

_ASK_TIMEOUT = 60  # seconds that another command of a scheduler may take
_ASK_BYTES = 24 * 1024 * 1024  # of its answer

# A scheduler may hang, or tell without end: what the jobs' own files say is to be read all the
# same. `timeout` ends a command with all that it began, in a process group of its own; so what ends
# this script is passed on to it. An answer that was cut off counts as a failure.
_ASK = f"""\
limit='timeout -k 5 {_ASK_TIMEOUT}'
$limit true 2>/dev/null || limit=
ask() {{ # COMMAND...: `asked` is "0" if what it wrote is whole
    {{ asked=$( {{ {{
        $limit "$@" </dev/null 3>&- 4>&- & c=$!
        trap 'kill -TERM "$c" 2>/dev/null' TERM HUP
        wait "$c"; echo $? >&3; }} |
        {{ head -c {_ASK_BYTES} >&4; [ "$(head -c 1 | wc -c)" -eq 0 ] || echo cut >&3; }}
    }} 3>&1 ); }} 4>&1
    case $asked in *cut*) asked=1 ;; esac
}}
"""

# `@TOKEN`, then a word and a value a line. The liveness of a process is looked at before its
# `end` file: what is gone has written all that it will write.
_LOOK = (
    STAMP
    + MARKED
    + """\
here=$PWD host=
[ "$now" ] || now=$(date +%s)
f() { # NAME WORD
    l=
    [ -f "$1" ] && { IFS= read -r l <"$1" || [ -n "$l" ]; } && printf '%s %.400s\\n' "$2" "$l"
}
lines() { # WORD
    while IFS= read -r l || [ -n "$l" ]; do printf '%s %.400s\\n' "$1" "$l"; done
}
few() { # FILE WORD: its lines, if they are few
    k=0
    while IFS= read -r l || [ -n "$l" ]; do
        k=$((k + 1))
        [ $k -le 20 ] || return 1
        printf '%s %.400s\\n' "$2" "$l"
    done <"$1"
}
living() { # TOKEN
    p=
    { read -r p st bo ho <pid; } 2>/dev/null || return
    case $p in ''|*[!0-9]*) return ;; esac
    [ "$host" ] || host=$(uname -n)
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
    f submit.lock/at lock; f submit.rc rc; f start start
    e=0; f end end && e=${l%% *} # of what has not ended well, more is told
    # Looked for once: it may come between two looks, and then neither it nor the answer is told.
    o=; f owner owner && o=1
    f cancel cancel; f timeout timeout
    l=; [ -f meta ] && IFS= read -r l <meta && printf 'meta %.4000s\\n' "$l"
    [ -e end ] || echo "now $now"
    if [ -e submit.rc ] && [ -z "$o" ]; then
        few submit.out submitout || tail -c 4000 submit.out | tail -n 9 | lines submitout
        [ ! -s submit.err ] || head -c 8000 submit.err | head -n 20 | lines submiterr
    fi
    if [ -e array ]; then
        for x in start.* end.* cancel.*; do case $x in *.new|*'*') ;; *) f "$x" "$x" ;; esac; done
    fi
    if [ "$tails" = 1 ] || [ "$e" != 0 ]; then
        for x in err log; do
            [ -f $x ] && [ ! -L $x ] && tail -c 2000 $x | tail -n 20 | lines tail$x
        done
    fi
}
for t in $looked; do
    case $t in sm????????????) look "$t"; cd "$here" || exit 53 ;; esac
done
echo "=done $nonce"
"""
)


def looked(nonce: str, tokens: Sequence[str], tails: bool = False) -> str:
    """Looks at the jobs' files, in the runner's directory; `$now` is the time, or empty."""
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
    parts = [f"cd {quote(root)} || exit 53\nnow=\n", _ASK if queue or history else ""]
    for name, words in (("queue", queue), ("history", history)):
        if words:
            parts.append(f"echo '={name} {nonce}'\nask {command(words)}\n")
            parts.append(f"printf '\\n={name} {nonce} %s\\n' \"$asked\"\n")
    if tokens is None:
        parts.append(f"nonce={nonce}\nlooked=$(echo sm????????????)\ntails={int(tails)}\n{_LOOK}")
    else:
        parts.append(looked(nonce, tokens, tails))
    return "".join(parts)


def ask(words: Sequence[str]) -> str:
    """Asks the scheduler something: what it prints, and no more than can be read."""
    return f'{_ASK}ask {command(words)}\n[ "$asked" = 0 ]\n' if words else ""


def command(words: Sequence[str]) -> str:
    """A command, as a shell reads it."""
    return " ".join(quote(word) for word in words)


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
        + STAMP
        + MARKED
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
end() { tell "$1" $(all); }
[ -e submit.lock ] || mkdir submit.lock 2>/dev/null
w=$(wrapper)
if [ ! -e start ] && [ -n "$w" ]; then kill -TERM "$w"; nap; nap; fi
k=0 # it may have begun a moment ago
while [ -e start ] && [ ! -e end ] && [ -z "$(all)" ] && [ -n "$(wrapper)" ] && [ $k -lt 20 ]; do
    k=$((k + 1)); nap
done
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
    """Follows the journal, and adds to each line of it what the job's own files say.

    Before the end of what has not ended well, lines that begin with `more` tell what a look would:
    so nobody has to look at each.

    It is tied to its stdin: when the connection is lost, `cat` ends, and all of it is ended.
    """
    return f"""\
cd {quote(root)} || exit 53
: >>events
[ -z "$(find events -size +20480 2>/dev/null)" ] || mv events events.old
: >>events
n=$(wc -c <events) # what comes from now on is told, however long it takes to begin
echo '=watching {nonce}'
more() {{ # WORD: what is read is told, a line each
    while IFS= read -r m || [ -n "$m" ]; do printf 'more %s %s %.400s\\n' "$name" "$1" "$m"; done
}}
tail -c "+$((n + 1))" -F events 2>/dev/null | while read -r kind name rest; do
    t=${{name%%.*}} s=
    case $name in *.*) s=.${{name#*.}} ;; esac
    case $t in sm????????????) ;; *) continue ;; esac
    case $s in *[!.0-9]*) continue ;; esac
    case $kind in start|end|dup) ;; *) continue ;; esac
    l=
    [ ! -f "$t/$kind$s" ] || IFS= read -r l <"$t/$kind$s"
    case $kind.$l in "end.0 -"*) ;; end.*)
        for x in cancel "cancel$s" timeout; do [ ! -f "$t/$x" ] || more "$x" <"$t/$x"; done
        for x in err log; do
            f=$t/$x
            [ $x = log ] || f=$f$s
            [ -f "$f" ] && [ ! -L "$f" ] && tail -c 2000 "$f" | tail -n 20 | more "tail$x"
        done ;;
    esac
    printf '%s %s %.400s\\n' "$kind" "$name" "$l"
done &
cat >/dev/null
trap '' TERM
kill -TERM 0
"""


def hello(directory: str, probes: Mapping[str, str]) -> str:
    """Asks who we are, where the jobs are to live, and which schedulers there are."""
    place = directory_word(directory)
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
