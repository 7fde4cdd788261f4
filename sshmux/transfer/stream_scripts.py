"""What runs on the remote when one file goes over several sessions: POSIX shell, purely.

As in `scripts`: paths are arguments, and what became of it is said on stderr.
"""

from __future__ import annotations

from .scripts import _COMMON as COMMON
from .scripts import _OURS as OURS
from .scripts import _PLACE as PLACE
from .scripts import _THROUGH as THROUGH

# Which file it is, and in which state: what all sessions must see alike, on whatever login node
# they are.
_STATE = """TZ=UTC0; export TZ
state() { stat -L -c '%i %s %y' -- "$1" 2>/dev/null ||
stat -L -f '%i %z %Fm' -- "$1" 2>/dev/null || ls -lniL -- "$1"; }
same() { [ "$(state "$1" | cut -c1-200)" = "$2" ]; }
sums() { while [ "$n" -gt 0 ]; do dd bs=1048576 count="$1" 2>/dev/null | sha256; n=$(( n - 1 ))
done; }
"""

# $1 path, $2 flags, $3 bytes: a larger file's first ones only, and what is to be known of it; with
# `z` nothing of one with holes, which is for one session (see GET)
GET_FIRST = (
    COMMON
    + _STATE
    + """[ -d "$1" ] && no isdir
[ -e "$1" ] || no missing
[ -r "$1" ] || no denied
[ -f "$1" ] || no special
case $2 in *z*) set -- "$1" "$2" "$3" $(ls -lnLsk -- "$1")
if [ "$(( $4 * 1024 + 65536 ))" -le "$9" ]; then say single; exit 0; fi;; esac
m=- t=-
case $2 in *p*) m=$(stat -c %a -- "$1" 2>/dev/null || stat -f %Lp -- "$1")
t=$(stat -c %Y -- "$1" 2>/dev/null || stat -f %m -- "$1");; esac
i=$(state "$1" | cut -c1-200) s=$(size "$1")
say state "$i"
say size "$s $m $t -"
case $2 in *n*) exit 0;; esac
[ "$s" -gt "$3" ] || exec cat -- "$1"
head -c "$3" < "$1" || exit
same "$1" "$i" || no changed
"""
)

# $1 path, $2 its state, $3 MiB to skip, $4 bytes
GET_PIECE = (
    COMMON
    + _STATE
    + """[ -f "$1" ] && same "$1" "$2" || no other
{ dd bs=1048576 skip="$3" count=0 2>/dev/null; head -c "$4"; } < "$1" || exit
same "$1" "$2" || no changed
"""
)

# $1 path, $2 its state, $3 MiB of a chunk, $4 how many of them: a checksum each, on stdout
GET_SUMS = (
    COMMON
    + _STATE
    + """same "$1" "$2" || no changed
n=$4; sums "$3" < "$1"
"""
)

# $p is the part, $k MiB to skip, $n bytes, $x flags. It is written by its descriptor. dd tells how
# much came (busybox's may not: then Linux does): when the link is lost the input just ends.
_WRITE = """e=$( { exec 3<>"$p" && [ "$p" -ef /dev/fd/3 ] && ours "$p" || exit 9
dd bs=1048576 seek="$k" conv=notrunc >&3 || exit 9
sed -n 's/^pos:[^0-9]*/at /p' /proc/self/fdinfo/3 3>&3 2>/dev/null || :; } 2>&1 ) || no write "$e"
have=$(printf '%s\\n' "$e" | sed -n 's/^\\([0-9][0-9]*\\) bytes.*/\\1/p' | tail -n 1)
at=$(printf '%s\\n' "$e" | sed -n 's/^at \\([0-9][0-9]*\\)$/\\1/p' | tail -n 1)
[ "$have" ] || have=$(( ${at:-0} - k * 1048576 ))
[ "$have" = "$n" ] || no short "$have"
trap - 0
say moved
"""
_WHOLE_OR_NOT = """case $x in *r*) ;; *) trap 'rm -f -- "$p"' 0;; esac
trap 'exit 1' 1 2 13 15
"""

# As PLACE; and $7 bytes of the first piece. Makes the part, says where it is, and takes that piece.
PUT_FIRST = (
    COMMON
    + PLACE
    + THROUGH
    + OURS
    + """[ -d "$f" ] && no isdir "$f"
if [ -e "$f" ] && [ ! -f "$f" ]; then no single; fi
x=$6 k=0 n=$7 p=$d/.sshmux-$5-part
umask 077
"""
    + _WHOLE_OR_NOT
    + """e=$( { set -C; : > "$p"; } 2>&1 ) || no write "$e"
names "$p" "$f"
"""
    + _WRITE
)

# $1 the part, $2 MiB to skip, $3 bytes, $4 flags
PUT_PIECE = (
    COMMON
    + OURS
    + """p=$1 k=$2 n=$3 x=$4
ours "$p" || no other
"""
    + _WHOLE_OR_NOT
    + _WRITE
)

# As PLACE; and $7 the whole size, $8 MiB of a chunk: what there is of an interrupted one, which is
# made anew if it cannot be one; a checksum for each chunk, on stdout
PUT_SUMS = (
    COMMON
    + _STATE
    + PLACE
    + THROUGH
    + OURS
    + """[ -d "$f" ] && no isdir "$f"
if [ -e "$f" ] && [ ! -f "$f" ]; then no single; fi
p=$d/.$b.sshmux-part
umask 077
s=0
if ours "$p"; then s=$(size "$p"); fi
if [ "$s" -gt "$7" ] || [ "$s" = 0 ]; then
if [ -e "$p" ] || [ -L "$p" ]; then { ours "$p" && rm -f -- "$p"; } || no part "$p"; fi
e=$( { set -C; : > "$p"; } 2>&1 ) || no write "$e"
s=0
fi
say part "$s"
n=$(( ( s + $8 * 1048576 - 1 ) / ( $8 * 1048576 ) ))
sums "$8" < "$p"
names "$p" "$f"
"""
)

# $1 the part, $2 its name, $3 size, $4 mode, $5 time, $6 flags: all of it has come
PUT_LAST = (
    COMMON
    + OURS
    + """p=$1 f=$2 x=$6 o=/dev/fd/0
"""
    + _WHOLE_OR_NOT
    + """command exec 3>> "$p" || no write
[ "$p" -ef /dev/fd/3 ] && ours "$p" || no part "$p"
have=$(size "$o" <&3)
[ "$have" = "$3" ] || no short "$have"
m=$4
case $x in *p*) ;; *) m=$(umask); m=$(printf %o $(( 0$4 & ~0$m )));; esac
case $x in *p*) TZ=UTC0 touch -t "$5" "$o" <&3;; esac
chmod "$m" "$o" <&3 || no write "cannot set its permissions"
exec 3>&-
case $x in *v*) e=$(sha256 < "$p"); say sum "$e"; names "$p" "$f"; trap - 0; exit 0;; esac
e=$(mv -f -- "$p" "$f" 2>&1) || no write "$e"
trap - 0
say done
"""
)
