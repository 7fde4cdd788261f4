"""What runs on the remote, purely: POSIX shell, and what it reports.

Every script says what became of it on stderr, in a line that begins with MARK. Paths are arguments,
never part of a script's text. LC_ALL=C, so that the reasons of programs can be told apart.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Sequence

from ..errors import (
    ConfigError,
    NoSpaceLeft,
    SourceChanged,
    SourceNotFound,
    TransferDenied,
    TransferError,
)

MARK = "sshmux-transfer"

_COMMON = """LC_ALL=C; export LC_ALL
no() { printf '\\n%s\\n' "sshmux-transfer $*" >&2; exit 9; }
say() { printf '\\n%s\\n' "sshmux-transfer $*" >&2; }
names() { say names; printf '%s\\0%s\\0' "$@" >&2; }
abs() { case $d in /*|./*) ;; *) d=./$d;; esac; }
hash() { if command -v sha256sum >/dev/null 2>&1; then sha256sum
elif command -v shasum >/dev/null 2>&1; then shasum -a 256
else openssl dgst -sha256 -r; fi | cut -c1-64; }
size() { set -- $(ls -lnL -- "$1"); echo "$5"; }
"""

# $1 target, $2 its directory, $3 its last name, $4 the name of what comes, $5 token, $6 flags
_PLACE = """d=$2 b=$3
if [ -d "$1" ]; then d=$1 b=$4; fi
case $6 in *m*) mkdir -p -- "$d" || no denied;; esac
[ -d "$d" ] || no nodir "$d"
abs
f=$d/$b
if [ -L "$f" ] && [ -e "$f" ]; then f=$(readlink -f -- "$f") && d=${f%/*} b=${f##*/}; fi
"""

# And: $7 size, $8 mode, $9 time, $10 offset
PUT = (
    _COMMON
    + _PLACE
    + """[ -d "$f" ] && no isdir "$f"
u=$(umask); umask 077
case $6 in
*d*) p=$f;;
*r*) p=$d/.$b.sshmux-part;;
*) p=$d/.sshmux-$5-part; trap 'rm -f -- "$p"' 0;;
esac
trap 'exit 1' 1 2 13 15
if [ "${10}" = 0 ]; then e=$( { : > "$p"; } 2>&1 ) || no write "$e"; fi
e=$( { cat >> "$p"; } 2>&1 ) || no write "$e"
have=$(size "$p")
[ "$have" = "$7" ] || no short "$have"
case $6 in *p*) m=$8;; *) m=$(printf %o $(( 0$8 & ~0$u )));; esac
chmod "$m" "$p" || no write "cannot set its permissions"
case $6 in *p*) TZ=UTC0 touch -t "$9" "$p";; esac
case $6 in *v*) trap - 0; say sum "$(hash < "$p")"; names "$p" "$f"; exit 0;; esac
[ "$p" = "$f" ] || e=$(mv -f -- "$p" "$f" 2>&1) || no write "$e"
trap - 0
say done
"""
)

# $1 the finished part, $2 its name
FINISH = (
    _COMMON
    + """e=$(mv -f -- "$1" "$2" 2>&1) || { rm -f -- "$1"; no write "$e"; }
say done
"""
)
DROP = 'rm -rf -- "$@"\n'

# What there is of an interrupted one: as PLACE
PART = (
    _COMMON
    + _PLACE
    + """p=$d/.$b.sshmux-part
if [ -f "$p" ]; then say part "$(size "$p") $(hash < "$p")"; else say part "0 -"; fi
"""
)

# $1 path, $2 offset, $3 flags
GET = (
    _COMMON
    + """[ -d "$1" ] && no isdir
[ -e "$1" ] || no missing
[ -r "$1" ] || no denied
[ -f "$1" ] || no special
m=- t=-
case $3 in *p*) m=$(stat -c %a -- "$1" 2>/dev/null || stat -f %Lp -- "$1")
t=$(stat -c %Y -- "$1" 2>/dev/null || stat -f %m -- "$1");; esac
case $3 in *h*) s=$(head -c "$2" -- "$1" | hash);; *) s=-;; esac
say size "$(size "$1") $m $t $s"
case $3 in *n*) exit 0;; esac
if [ "$2" = 0 ]; then exec cat -- "$1"; fi
exec tail -c "+$(( $2 + 1 ))" -- "$1"
"""
)

SUM = (
    _COMMON
    + """say sum "$(hash < "$1")"
"""
)

# $1 … a pattern each; what they fit is said with its kind
LOOK = (
    _COMMON
    + """IFS=
for w do
if [ -e "$w" ] || [ -L "$w" ]; then set -- "$w"; else set -- $w; fi
for f do
if [ -d "$f" ]; then k=d; elif [ -f "$f" ]; then k=f; elif [ -e "$f" ] || [ -L "$f" ]; then k=o
else k=x; fi
printf '%s\\0%s\\0' "$k" "$f"
done; done
"""
)

# $1 token, or "-"; $2 … paths: as one archive, each under its last name; with a token, its end last
PACK = (
    _COMMON
    + """tok=$1; shift
for f do
[ -e "$f" ] || [ -L "$f" ] || no missing "$f"
done
h=$(pwd) n=$#
while [ "$n" -gt 0 ]; do
f=${1%/} d=. b=$f; shift
case $f in */*) d=${f%/*}/ b=${f##*/};; esac
case $d in -*) d=./$d;; esac
set -- "$@" -C "$h" -C "$d" "./$b"
n=$(( n - 1 ))
done
say pack
[ "$tok" != - ] || exec tar -cf - "$@"
s=$(mktemp -d) || no write "mktemp"
trap 'rm -rf -- "$s"' 0; trap 'exit 1' 1 2 13 15
: > "$s/.sshmux-$tok-end"
tar -cf - "$@" -C "$s" "./.sshmux-$tok-end"
"""
)

# As PLACE; an archive comes, and is unpacked beside the target. Its end is told by an entry that
# comes last: tar itself takes an archive that was cut between two files for whole.
UNPACK = (
    _COMMON
    + _PLACE
    + """case $6 in *i*) [ -d "$1" ] || no nodir "$1"; d=$1; abs;; esac
p=$d/.sshmux-$5-part
trap 'rm -rf -- "$p"' 0
trap 'exit 1' 1 2 13 15
e=$(umask 077; mkdir -- "$p" 2>&1) || no write "$e"
case $6 in *p*) x=-xpf;; *) x=-xf;; esac
e=$(tar "$x" - -C "$p" 2>&1) || no write "$e"
[ -e "$p/.sshmux-$5-end" ] || no short "not all files"
rm -f -- "$p/.sshmux-$5-end"
case $6 in *i*) ;; *) if [ "$b" != "$4" ]; then mv -- "$p/$4" "$p/$b" || no write "mv"; fi;; esac
trap - 0
names "$p" "$d"
"""
)

# $1 a directory whose entries go into the directory $2, into those of the same names there
MERGE = (
    _COMMON
    + """merge() {
from=$1 into=$2; shift 2
for x in "$from"/* "$from"/.[!.]* "$from"/..?*; do
if [ -d "$x" ] && [ ! -L "$x" ] && [ -d "$into/${x##*/}" ]; then
( merge "$x" "$into/${x##*/}" ) || return 1
elif [ -e "$x" ] || [ -L "$x" ]; then set -- "$@" "$x"; fi
if [ $# -ge 200 ]; then mv -f -- "$@" "$into/" || return 1; set --; fi
done
[ $# = 0 ] || mv -f -- "$@" "$into/"
}
p=$1; trap 'rm -rf -- "$p"' 0
e=$(merge "$1" "$2" 2>&1) || no write "$e"
say done
"""
)


def words(script: str, *arguments: object) -> list[str]:
    """The command for a script, for whatever login shell."""
    return ["sh", "-c", script, "sh", *map(str, arguments)]


def remote_path(path: str | bytes | os.PathLike[str]) -> str:
    """A remote path; `~/` is the home, where commands begin. Raises `ConfigError`."""
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ConfigError(f"remote path {text!r}: give the name of a file or directory")
    if text == "~":
        return "."
    return (text[2:].lstrip("/") or ".") if text.startswith("~/") else text


def place(target: str, name: str, token: str, flags: str) -> tuple[str, ...]:
    """The first six arguments of PUT and PART."""
    slashed = target.endswith("/")
    directory, base = (target, name) if slashed else posixpath.split(target)
    return target, directory or ".", base, name, token, flags


def stamp(seconds: float) -> str:
    """A time for `touch -t`, in UTC."""
    return time.strftime("%Y%m%d%H%M.%S", time.gmtime(seconds))


def report(stderr: str) -> tuple[dict[str, str], str]:
    """What a script said, by its first word; and the rest of what came on stderr."""
    said, rest = {}, []
    for line in stderr.splitlines():
        if line.startswith(MARK + " "):
            word, _, text = line[len(MARK) + 1 :].partition(" ")
            said[word] = text
        elif line:
            rest.append(line)
    return said, "\n".join(rest)


_REASONS: Sequence[tuple[str, type[TransferError]]] = (
    ("No space left", NoSpaceLeft),
    ("quota exceeded", NoSpaceLeft),
    ("File too large", NoSpaceLeft),
    ("size limit exceeded", NoSpaceLeft),  # a shell, of a program that SIGXFSZ ended
    ("Filesize limit", NoSpaceLeft),  # the same
    ("SIGXFSZ", NoSpaceLeft),
    ("Wrote only", NoSpaceLeft),  # GNU tar
    ("Permission denied", TransferDenied),
    ("Operation not permitted", TransferDenied),
    ("Read-only file system", TransferDenied),
)


def failure(stderr: str, status: int, source: str, target: str) -> TransferError:
    """The error for a script that did not do what it should."""
    said, rest = report(stderr)
    what = f"{source} to {target}"
    if "missing" in said:
        return SourceNotFound(f"{what}: there is no such file: {said['missing'] or source}")
    if "denied" in said:
        return TransferDenied(f"{what}: permission denied on the remote")
    if "nodir" in said:
        return SourceNotFound(
            f"{what}: on the remote is no directory {said['nodir']}: use parents=True to make it"
        )
    if "isdir" in said:
        return TransferError(f"{what}: that is a directory (for a whole one: recurse=True)")
    if "special" in said:
        return TransferError(f"{what}: that is neither a file nor a directory")
    if "short" in said:
        return SourceChanged(
            f"{what}: {said['short']} bytes arrived, which is not its size: the file changed "
            "while it was sent"
        )
    text = "\n".join(filter(None, (said.get("write", ""), rest))) or f"exit status {status}"
    kind = next((kind for words, kind in _REASONS if words in text), TransferError)
    return kind(f"{what}: {text}")
