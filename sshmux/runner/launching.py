"""How jobs are put into place and submitted, as POSIX sh made from checked values. Pure.

A job's submit command is run behind a lock, in a session of its own, and leaves its end in files:
whoever is ended meanwhile, others read there how far it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .scripts import command, looked, quote

SUBMIT_TIMEOUT = 60  # seconds that a submit command may take
LAUNCHING = 100  # seconds after which no further one is begun by the same script

# A session of its own, so that nothing that ends the connection's session ends it.
_DETACH = """\
detach() {
    if command -v setsid >/dev/null 2>&1; then exec setsid "$@"
    elif command -v perl >/dev/null 2>&1; then
        exec perl -MPOSIX -e 'POSIX::setsid(); exec @ARGV or exit 127' "$@"
    elif command -v python3 >/dev/null 2>&1; then
        exec python3 -I -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
    else exec nohup "$@"; fi
}
"""

_SUBMIT = """\
t=
if command -v timeout >/dev/null 2>&1; then t='timeout {limit}'; fi
$t {command} >submit.out 2>submit.err
s=$? d=
[ $s = 0 ] || d=$(date +%s)
echo "$s $d" >submit.rc
"""


def submit_command(words: Sequence[str], *, stdin: str | None) -> str:
    """The file `submit`: runs the submit command, and keeps its end whoever waits for it."""
    source = "/dev/null" if stdin is None else quote(stdin)
    text = _SUBMIT.replace("{limit}", str(SUBMIT_TIMEOUT))
    return text.replace("{command}", f"{command(words)} <{source}")


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
cd .. && rm -rf ".stage-$nonce" &
cd .. || exit 53
"""

_LAUNCH = (
    _DETACH
    + """\
launch() { # TOKEN: runs its submit command, unless that was begun before
    cd "$1" || return
    [ ! -e cancel ] || return
    if mkdir submit.lock 2>/dev/null; then echo "$at" >submit.lock/at
    else
        # Whoever took it was ended before it had said when: it counts from now on.
        l=
        { IFS= read -r l <submit.lock/at; } 2>/dev/null
        case $l in ''|*[!0-9]*) echo "$at" >submit.lock/at ;; esac
        return
    fi
    if [ -e shell ]; then
        ( detach sh ./wrap </dev/null >log 2>&1 ) &
        echo $! >submit.out
        echo "0 $at" >submit.rc
        return
    fi
    ( detach sh ./submit </dev/null >/dev/null 2>&1 ) &
    wait $!
}
n=0 at=$(date +%s)
began=$at
for t in $tokens; do
    case $t in sm????????????) ;; *) continue ;; esac
    ( launch "$t" ) &
    n=$((n + 1))
    [ $((n % 4)) -eq 0 ] || continue
    wait
    # What a slow scheduler leaves no time for is told as not begun, and is submitted next time.
    at=$(date +%s)
    [ $((at - began)) -lt {launching} ] || break
done
wait
now=$at
: >>events
"""
).replace("{launching}", str(LAUNCHING))

# Puts the lock of a submission that came to nothing aside, so that it can be tried again: the lock
# that was seen, since another program may have been quicker.
_ASIDE = """\
aside() { # TOKEN STAMP
    cd "$1" || return
    l=
    IFS= read -r l <submit.lock/at
    [ "$l" = "$2" ] && [ ! -e owner ] || return
    n=1; while [ -e "submit.old.$n" ]; do n=$((n + 1)); done
    mv submit.lock "submit.old.$n" || return
    for x in out err rc; do [ ! -e submit.$x ] || mv -f submit.$x "submit.old.$n/$x"; done
}
"""


def stage(nonce: str, tokens: Sequence[str], launched: Sequence[str]) -> str:
    """The last file of the archive: puts the jobs in place, submits some, tells what is there."""
    head = _STAGE.replace("{nonce}", nonce).replace("{tokens}", quote(" ".join(tokens)))
    return head + launch(nonce, launched)


def launch(nonce: str, tokens: Sequence[str]) -> str:
    """Submits staged jobs, in the runner's directory, and tells what is there."""
    names = quote(" ".join(tokens))
    body = _LAUNCH if tokens else ": >>events\n"
    return f"now= tokens={names}\n{body}{looked(nonce, tokens)}"


def unpack(root: str, nonce: str) -> list[str]:
    """A command that reads an archive on stdin and runs the `stage` in it."""
    line = (
        'umask 077; { { cd "$1" 2>/dev/null || { mkdir -p "$1" && chmod 700 "$1" && cd "$1"; }; } '
        '&& tar -xf - && cd ".stage-$2"; } 2>&1 || { rm -rf "$1/.stage-$2"; exit 53; }; '
        "exec sh ./stage"
    )
    return ["sh", "-c", line, "sshmux", root, nonce]


def retry(root: str, nonce: str, tokens: Sequence[str], locks: Mapping[str, str]) -> str:
    """Runs submit commands of jobs that are in place.

    Parameters:
        locks: of those that were tried before and came to nothing: the lock that was seen.
    """
    aside = "".join(f"( aside {token} {quote(lock)} )\n" for token, lock in locks.items())
    head = f"cd {quote(root)} || exit 53\n"
    return head + (_ASIDE + aside if aside else "") + launch(nonce, tokens)
