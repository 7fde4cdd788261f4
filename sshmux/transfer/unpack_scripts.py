"""What runs on the remote where a tree arrives: POSIX shell, purely.

As in `scripts`: paths are arguments, and what became of it is said on stderr.
"""

from __future__ import annotations

from .scripts import _COMMON as COMMON
from .scripts import _KNOWS_HOLES as KNOWS_HOLES
from .scripts import _PART as PART
from .scripts import _PLACE as PLACE
from .scripts import DEEPEST

# As PLACE; an archive comes, and is unpacked in a directory of ours beside the target: with `z` it
# tells of holes, with `i` it goes into a directory that is there, with `c` it is what is in one.
# With `s` another host made it: it may hold nothing but the one name, and no link that leads out.
# $7 …: words of find that find what may not be in it.
UNPACK = (
    COMMON
    + PLACE
    + KNOWS_HOLES
    + PART
    + """case $6 in *z*) knows_holes || no plain;; esac
case $6 in *i*) [ -d "$1" ] || no nodir "$1"; d=$1; abs;; esac
q=.sshmux-$5-part t=. in=.
p=$d/$q
case $6 in *c*) if [ ! -d "$1" ] || [ "$4" != . ]; then t=./$b; else t=./in in=in; fi;; esac
make
[ "$t" = . ] || mkdir -- "$t" || no write mkdir
case $6 in *p*) x=-xpof;; *) x=-xmof;; esac
n=; [ "$u" != 0 ] || case $6 in *p*) ;; *) n=--no-same-permissions;; esac
w=; case $6 in *s*) case $n$6 in --*|*p*) case $(tar --version 2>&1) in
*bsdtar*) w='--no-acls --no-xattrs --no-fflags';;
esac;; esac;; esac
e=$(tar $n "$x" - $w -C "$t" 2>&1) || no write "$e"
[ $# = 6 ] || { e=$(shift 6; cd "$t" && find . "$@" -print) || no write find
[ -z "$e" ] || no foreign "what exclude= and include= leave out"; }
case $6 in *c*) ;; *i*) ;; *) if [ "$b" != "$4" ]; then
[ -e "./$4" ] || [ -L "./$4" ] || no foreign "something else"
mv -- "./$4" "./$b" || no write mv; fi;; esac
tame() {
find . "$@" ! -type d ! -type f ! -type l -exec rm -f -- {} + \\
-o -type f '(' -perm -4000 -o -perm -2000 ')' -exec chmod u-s,g-s {} +
}
case $6 in
*s*) mine "$here" || no foreign "something else"
[ "$b" = . ] || [ -e "./$b" ] || [ -L "./$b" ] || no foreign "something else"
for f in ./* ./.[!.]* ./..?*; do
[ "$b" = . ] || [ "$f" = "./$b" ] || { [ ! -e "$f" ] && [ ! -L "$f" ]; } || no foreign "${f##*/}"
done
e=$(tame -path './DEEP' -prune -print -o -type l -exec sh -c '
for f do
to=$(readlink "$f") up=0 ok=y down= deep=0 in=${f#./}
case $to in /*) ok=;; esac
while [ "${in#*/}" != "$in" ]; do deep=$(( deep + 1 )) in=${in#*/}; done
set -f; IFS=/
for w in $to; do case $w in ""|.) ;; ..) up=$(( up + 1 )); [ -z "$down" ] || ok=;; *) down=y;; esac
done
[ "$up" -lt "$deep" ] || ok=
[ "$ok" ] || rm -f -- "$f"
done' sh {} + -o) || no write find
[ -z "$e" ] || no deep;;
*) tame || no write find;;
esac
kinds() {
if find . -prune -printf '' 2>/dev/null; then find . ! -type d -printf '%M 1 0 0 %s\\n'
else ls -AlnRq; fi
}
count() {
if command -v awk >/dev/null 2>&1; then
awk '/^-/ { n++; s += $5 } /^l/ { n++ } END { printf "%.0f %.0f", n, s }'
else
n=0 s=0
while read -r k a a a z a; do
case $k in -*) n=$(( n + 1 )) s=$(( s + z ));; l*) n=$(( n + 1 ));; esac
done
echo "$n $s"; fi
}
case $6 in *n*) say count "$(kinds | count)";; esac
names "$p" "$i/$in"
trap - 0
"""
)

UNPACK = UNPACK.replace("DEEP", "/".join("*" * (DEEPEST + 2)))

# $1 a part and $2 what UNPACK told of it: what is in it goes into the directory that it is in, into
# directories of the same names there; no link is gone through. First it is seen whether something
# is in the way. Then each directory that is filled is gone into, and seen to be in the one where
# its name was; what goes is reached by a descriptor (/dev/fd), where there is such a thing.
MERGE = (
    COMMON
    + PART
    + """clash() {
for x in "$1"/* "$1"/.[!.]* "$1"/..?*; do
y=$2/${x##*/}
[ -e "$y" ] || [ -L "$y" ] || continue
if [ -d "$x" ] && [ ! -L "$x" ]; then
[ -d "$y" ] && [ ! -L "$y" ] || no clash "$d/${y#../}"
( clash "$x" "$y" ) || exit
elif [ -d "$y" ] && [ ! -L "$y" ]; then
[ ! -e "$x" ] && [ ! -L "$x" ] || no clash "$d/${y#../}"
elif [ -e "$y" ] && [ ! -f "$y" ] && [ ! -d "$y" ]; then no special
fi
done
}
hold() { s=$2 c=$2; command exec 3< "$1" && [ -d /dev/fd/3/. ] && s=/dev/fd/3 c=/dev/fd/0; }
merge() {
closed=; set --
[ -w "$s" ] || chmod u+w "$c/." <&3 || return
[ -w . ] || { chmod u+rwx . && closed=y; } || return
for x in "$s"/* "$s"/.[!.]* "$s"/..?*; do
b=${x##*/}
if [ -d "$x" ] && [ ! -L "$x" ]; then
if [ -d "./$b" ] && [ ! -L "./$b" ]; then ( go "$b" && { hold "$x" "$x"; merge; } ) || return 1
elif [ ! -w "$x" ]; then
m=u-w; [ -x "$x" ] || m=u-wx
chmod u+wx "$c/$b" <&3; mv -f -- "$c/$b" . <&3 && ( go "$b" && chmod "$m" . ) || return
else set -- "$@" "$c/$b"; fi
elif [ -e "$x" ] || [ -L "$x" ]; then set -- "$@" "$c/$b"; fi
if [ $# -ge 200 ]; then mv -f -- "$@" . <&3 || return 1; set --; fi
done
[ $# = 0 ] || mv -f -- "$@" . <&3 || return
[ -z "$closed" ] || chmod u-w .
}
go() {
up=$PWD; command exec 4< . && [ . -ef /dev/fd/4 ] && up=/dev/fd/4
cd -P -- "./$1" && [ .. -ef "$up" ] || { echo "$1 has changed meanwhile"; return 1; }
}
known "$1" "$2" || no part "$1"
trap gone 0
trap 'exit 1' 1 2 13 15
d=${1%/*}
clash "./${2#*/}" ..
e=$( { hold "./${2#*/}" "$PWD/${2#*/}"; cd -P .. && merge; } 2>&1) || no write "$e"
say done
"""
)
