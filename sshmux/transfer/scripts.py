"""What runs on the remote, purely: POSIX shell, and what it reports.

Every script says what became of it on stderr, in a line that begins with MARK. Paths are arguments,
never part of a script's text. LC_ALL=C, so that the reasons of programs can be told apart.
"""

from __future__ import annotations

import os
import posixpath
import time

from ..errors import ConfigError

MARK = "sshmux-transfer"
FLAGS = 5  # which of the arguments of PUT, from 0, are its flags
DEEPEST = 64  # directories in directories, as sftp's own

# Nothing of the account's environment may change what the programs do; `~` is the home, and so is
# where paths begin, whatever a start-up file did.
# (mksh reads octal numbers, which modes are, as such in that mode only.)
_COMMON = """LC_ALL=C; export LC_ALL
[ $((010)) = 8 ] || set -o posix
unset TAR_OPTIONS GREP_OPTIONS POSIXLY_CORRECT CDPATH GZIP TAPE BLOCKSIZE BLOCK_SIZE LS_BLOCK_SIZE
unset -f awk cat cd chmod cut find head id ls mkdir mktemp mv printf readlink rm stat tail tar touch
cd -- "${HOME:-.}" 2>/dev/null || :
no() { printf '\\n%s\\n' "sshmux-transfer $*" >&2; exit 9; }
say() { printf '\\n%s\\n' "sshmux-transfer $*" >&2; }
names() { say names; printf '%s\\0%s\\0' "$@" >&2; }
abs() { case $d in /*|./*) ;; *) d=./$d;; esac; }
sha256() { if command -v sha256sum >/dev/null 2>&1; then sha256sum
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
"""
# A link that is the target of one file stays, and what it leads to is replaced, or made.
_THROUGH = """if [ -L "$f" ]; then
l=$(readlink -f -- "$f") && [ "$l" ] && [ -d "${l%/*}/" ] || no nodir "$(readlink -- "$f")"
f=$l d=${f%/*} b=${f##*/}; fi
"""

# A part of an interrupted one goes on only if it is ours alone: its name can be foretold, and
# others may be able to write to the directory.
_OURS = """ours() { [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] || return 1
set -- $(ls -ln -- "$1"); [ "$2" = 1 ]; }
"""

# A directory of ours where others may rename what is there, and so put anything else under its
# name: it is gone into once, seen to be the one that was made, and used and emptied from within.
_PART = """mine() { [ -O . ] && [ .. -ef "$1" ] || return
set -- $(ls -dni .)
case $2 in drwx--[-S]---*) i=$1 u=$4;; *) return 1;; esac; }
empty() { for f in ./* ./.[!.]* ./..?*; do [ ! -e "$f" ] && [ ! -L "$f" ] || return; done; }
clear() { rm -rf -- ./* ./.[!.]* ./..?* || find . ! -name . -prune -exec rm -rf -- {} +; }
gone() { [ -z "$i" ] || { clear || { chmod -R u+rwx .; clear; }; cd -P ..; }; rmdir -- "$q"
} 2>/dev/null
enter() { q=${1##*/} i=; cd -P -- "${1%/*}/" && cd -P -- "./$q" && mine "$OLDPWD"; }
known() { enter "$1" && [ "$i" = "${2%/*}" ]; }
# For a file that may be in one; in that case it is gone into.
lone() { p=$1; case ${1##*/} in .sshmux-*-part) return;; esac
w=${1%/*}; case ${w##*/} in .sshmux-*-part) enter "$w" || no part "$1"; p=./${1##*/};; esac; }
drop() { rm -f -- "$p"; [ -z "$q" ] || { cd -P .. && rmdir -- "$q"; }; }
# Makes it, in $d as $q, and goes in.
make() { cd -P -- "$d" || no denied
here=$PWD i=
trap gone 0
trap 'exit 1' 1 2 13 15
e=$(umask 077; mkdir -- "$q" 2>&1) || no write "$e"
cd -P -- "./$q" && empty && mine "$here" || { cd -P -- "$here"; no part "$q"; }; }
"""

# What knows archives of files with holes.
_KNOWS_HOLES = """knows_holes() {
case $(tar --version 2>&1) in *GNU\\ tar*|*bsdtar*) ;; *) false;; esac
}
"""

# And: $7 size, $8 mode, $9 time, $10 offset; with `z` an archive comes, of a file with holes, named
# $11: it is unpacked in a directory of ours. The part is made by us alone (`set -C` is O_EXCL),
# with its permissions where the umask can give them; it is written, measured and changed by its
# descriptor: so it does not matter what others do with its name. (Programs get it as their stdin,
# for ksh passes on no other.) With `s` another host sends it: it may send without end.
PUT = (
    _COMMON
    + _PLACE
    + _THROUGH
    + _OURS
    + _PART
    + _KNOWS_HOLES
    + """[ -d "$f" ] && no isdir "$f"
x=$6 q=
if [ -e "$f" ] && [ ! -f "$f" ]; then [ -c "$f" ] || no special; x=-d${6#-}; fi
m=$8
case $x in *p*) ;; *) m=$(umask); m=$(printf %o $(( 0$8 & ~0$m )));; esac
case $x in *d*) p=$f;; *r*) p=$d/.$b.sshmux-part;; *) p=$d/.sshmux-$5-part;; esac
case $x in *z*) case $x in *d*|*r*) no plain;; esac; knows_holes || no plain
q=.sshmux-$5-part;; esac
case $x in *d*|*r*|*z*) ;; *) trap 'rm -f -- "$p"' 0;; esac
trap 'exit 1' 1 2 13 15
made=
case $x$m in
*[rp]*|*[1357]*) umask 077;;
*) umask "$(printf %o $(( 0777 & ~0$m )))"; made=y;;
esac
case $x in *d*|*z*) made=;; esac
case $x in
*d*) command exec 3> "$p" || no write;;
*z*) w=$p/${11}; make; e=$(tar -xmof - 2>&1) || no write "$e"
p=./${11} f=../$b; [ ! -L "$p" ] || no special;;
*r*) if [ "${10}" = 0 ]; then
if [ -e "$p" ] || [ -L "$p" ]; then { ours "$p" && rm -f -- "$p"; } || no part "$p"; fi
( set -C; : > "$p" ) || no write
fi
ours "$p" || no part "$p"
command exec 3>> "$p" || no write
[ "$p" -ef /dev/fd/3 ] && ours "$p" || no part "$p";;
*) set -C; command exec 3> "$p" || no write; set +C;;
esac
o=/dev/fd/3 c=/dev/fd/0; [ -e "$o" ] || o=$p c=$p
case $x in
*d*) ;;
*z*) o=$p c=$p; exec 3< /dev/null;;
*) [ -f "$o" ] && [ -O "$o" ] || no part "$p";;
esac
case $x in *z*) ;; *s*) head -c $(( $7 + 1 )) >&3;; *) cat >&3;; esac || no write
if [ -f "$o" ]; then
have=$(size "$c" <&3)
[ "$have" = "$7" ] || case $x in *a*) ;; *) no short "$have";; esac
case $x in *p*) TZ=UTC0 touch -t "$9" "$c" <&3;; esac
[ "$made" ] || chmod "$m" "$c" <&3 || no write "cannot set its permissions"
fi
exec 3>&-
case $x in *v*) e=$(sha256 < "$p"); say sum "$e"
[ -z "$q" ] || p=$w f=$d/$b
names "$p" "$f"; trap - 0; exit 0;; esac
[ "$p" = "$f" ] || e=$(mv -f -- "$p" "$f" 2>&1) || no write "$e"
trap - 0
[ -z "$q" ] || gone
say done
"""
)

# $1 the finished part, which may be in a directory of ours; $2 its name
FINISH = (
    _COMMON
    + _PART
    + """case $2 in /*) f=$2;; *) f=$PWD/$2;; esac
q=; lone "$1"
trap drop 0
e=$(mv -f -- "$p" "$f" 2>&1) || no write "$e"
[ "$q" ] || trap - 0
say done
"""
)

# $1 a file, which may be in a directory of ours, or such a directory and $2 what UNPACK told of it;
# and so on
DROP = (
    _COMMON
    + _PART
    + """while [ $# -gt 0 ]; do
case $2 in ?*) ( known "$1" "$2" && gone );; *) ( q=; lone "$1"; drop );; esac
shift 2
done
"""
)

# What there is of an interrupted one: as PLACE
PART = (
    _COMMON
    + _PLACE
    + _THROUGH
    + _OURS
    + """p=$d/.$b.sshmux-part
if ours "$p"; then say part "$(size "$p") $(sha256 < "$p")"; else say part "0 -"; fi
"""
)

# $1 path, $2 offset, $3 flags: with `z` a file with holes comes as an archive, if tar there makes
# them. `ls` tells blocks of 1 KiB.
GET = (
    _COMMON
    + """sizes() { set -- $(ls -lnLsk -- "$1"); k=$1 z=$6; }
holes() {
[ "$(( k * 1024 + 65536 ))" -le "$z" ] || return
case $(tar --version 2>&1) in *GNU\\ tar*) ;; *) false;; esac
}
[ -d "$1" ] && no isdir
[ -e "$1" ] || no missing
[ -r "$1" ] || no denied
[ -f "$1" ] || no special
m=- t=-
case $3 in *p*) m=$(stat -c %a -- "$1" 2>/dev/null || stat -f %Lp -- "$1")
t=$(stat -c %Y -- "$1" 2>/dev/null || stat -f %m -- "$1");; esac
case $3 in *h*) s=$(head -c "$2" -- "$1" | sha256);; *) s=-;; esac
sizes "$1"
say size "$z $m $t $s"
case $3 in *n*) exit 0;; *z*) if holes; then
say holes
TAR_OPTIONS=--sparse; export TAR_OPTIONS
case $1 in */*) cd -- "${1%/*}/" || no denied;; esac
tar -chf - "./${1##*/}"; s=$?
case $s$3 in 1-*a*) s=0;; esac
exit "$s"
fi;; esac
if [ "$2" = 0 ]; then exec cat -- "$1"; fi
exec tail -c "+$(( $2 + 1 ))" -- "$1"
"""
)

SUM = (
    _COMMON
    + """say sum "$(sha256 < "$1")"
"""
)

# $1 … a pattern each; what they fit is said with its kind: d directory, f file, D and F links to
# them, L any other link, o anything else, x nothing
LOOK = (
    _COMMON
    + """IFS=
for w do
if [ -e "$w" ] || [ -L "$w" ]; then set -- "$w"; else set -- $w; fi
for f do
if [ -d "$f" ]; then k=d; [ ! -L "${f%/}" ] || k=D
elif [ -f "$f" ]; then k=f; [ ! -L "$f" ] || k=F
elif [ -L "$f" ]; then k=L; elif [ -e "$f" ]; then k=o
else k=x; fi
printf '%s\\0%s\\0' "$k" "$f"
done; done
"""
)

# With `z` GNU tar tells of holes in place of sending them; others know nothing of that variable.
_HOLES = """holes() { case $x in *z*) TAR_OPTIONS=--sparse; export TAR_OPTIONS;; esac; }
"""

# $1 flags, $2 … paths: as one archive, each under its last name; with `i` what is in the one
# directory, with `h` what links lead to, with `a` whatever changes meanwhile. Busybox's tar knows
# one directory only: it makes one archive after the other.
PACK = (
    _COMMON
    + _HOLES
    + """x=$1 c=-cf; shift
holes
case $x in *h*) c=-chf;; esac
for f do
[ -e "$f" ] || [ -L "$f" ] || no missing "$f"
done
pack() { tar "$c" - "$@"; s=$?; case $s$x in 1-*a*) s=0;; esac; return $s; }
case $x in *i*) cd -- "$1/" || no denied; say pack; pack .; exit;; esac
h=$(pwd) n=$# first= same=y
for f do
f=${f%/} d=.
case $f in */*) d=${f%/*}/;; esac
[ "${first:=$d}" = "$d" ] || same=
done
one=
[ "$same" ] || case $(tar --version 2>&1) in *[Bb]usy[Bb]ox*) one=y; say pack;; esac
while [ "$n" -gt 0 ]; do
f=${1%/} d=. b=$f; shift
case $f in */*) d=${f%/*}/ b=${f##*/};; esac
case $d in -*) d=./$d;; esac
if [ "$one" ]; then ( cd "$d" && pack "./$b" ) || exit
elif [ "$same" ]; then set -- "$@" "./$b"
else set -- "$@" -C "$h" -C "$d" "./$b"; fi
n=$(( n - 1 ))
done
[ -z "$one" ] || exit 0
if [ "$same" ]; then case $first in -*) first=./$first;; esac; cd "$first" || no denied; fi
say pack
case $x in *a*) pack "$@"; exit;; esac
exec tar "$c" - "$@"
"""
)

# $1 flags, $2 a directory, $3 … names in it and words of find that choose of them: as one archive.
# Busybox's tar takes names as words only, so there it may be several, of which only the last has an
# end, if the remote's `head` can take it off.
PACK_CHOSEN = (
    _COMMON
    + _HOLES
    + """x=$1 c=-cf l=
holes
cd -- "$2" || no denied
shift 2
case $x in *h*) c=-chf l=-L;; esac
pack() { tar --no-recursion --null "$c" - -T -; s=$?; case $s$x in 1-*a*) s=0;; esac; return $s; }
say pack
case $(tar --version 2>&1) in
*[Bb]usy[Bb]ox*)
h='head -c -1024'
[ "$(printf ab | head -c -1 2>/dev/null)" = a ] || h=cat
find $l "$@" -exec sh -c '{ tar --no-recursion "$0" - "$@" ||
printf "\nsshmux-transfer failed %s\n" $? >&2; } | '"$h" "$c" {} +
say found $?
head -c 1024 /dev/zero;;
*) { find $l "$@" -print0; say found $?; } | pack;;
esac
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
