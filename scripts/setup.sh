# shellcheck shell=bash
# The one way to set sshmux up, sourced by the scripts beside it:
#
#   sshmux_setup python     the virtual environment
#   sshmux_setup programs   and ssh and sshd
#   sshmux_setup tests      and what some tests need, which are skipped without it
#
# Afterwards $PYTHON is the virtual environment's, and the working directory the project's.
# A stamp in the virtual environment makes every further run a matter of milliseconds.
#
#   SSHMUX_PYTHON      the Python (>= 3.11) to use; otherwise the newest that works is looked for
#   SSHMUX_VENV        the virtual environment; a relative path begins at the project (.venv)
#   SSHMUX_NO_INSTALL  if set, missing system packages are named, not installed
#   SSHMUX_LOCKED      if set, only the locked versions (scripts/locked.txt) are installed, or none
#
# Bash 3.2, which is what macOS has, must understand this.

SSHMUX_ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
venv=${SSHMUX_VENV:-.venv}
[[ $venv == /* ]] || venv=$SSHMUX_ROOT/$venv
PYTHON=$venv/bin/python
stamp=$venv/sshmux-setup.stamp # what the environment was made from; written last
tried=$venv/sshmux-setup.tried # the optional packages that could not be installed
lock=$venv/sshmux-setup.lock
log=$venv/sshmux-setup.log
case ${SSHMUX_PYTHON:-} in */*) [[ $SSHMUX_PYTHON == /* ]] || SSHMUX_PYTHON=$PWD/$SSHMUX_PYTHON ;; esac
unset PYTHONHOME PYTHONPATH # site packages of another Python would win over ours
# Tests start Python a thousand times: without its cache each compiles all of sshmux once more.
unset PYTHONDONTWRITEBYTECODE

# what must be there : Debian's and Ubuntu's package : Fedora's
PROGRAMS='ssh:openssh-client:openssh-clients sshd:openssh-server:openssh-server'
FOR_TESTS='ps:procps:procps-ng tcsh:tcsh:tcsh fish:fish:fish zsh:zsh:zsh'
if [[ $(uname) == Darwin ]]; then
    manager=brew
else
    # nss_wrapper is preloaded into sshd, which works on Linux only, as does PAM of one's own
    FOR_TESTS+=' libnss_wrapper.so:libnss-wrapper:nss_wrapper'
    FOR_TESTS+=' pam_google_authenticator.so:libpam-google-authenticator:google-authenticator'
    FOR_TESTS+=' dropbear:dropbear-bin:dropbear' # with nss_wrapper
    # the keyring of a Linux desktop, private to a test
    FOR_TESTS+=' dbus-daemon:dbus:dbus-daemon gnome-keyring-daemon:gnome-keyring:gnome-keyring'
    FOR_TESTS+=' softhsm2-util:softhsm2:softhsm' # a smart card in software
    manager=$(type -P apt-get || type -P dnf || true)
    manager=${manager##*/}
fi

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# The log is shown only when something went wrong.
die_with_log() {
    tail -n 40 "$log" >&2
    die "$* (above: the end of $log)"
}

quietly() { "$@" >>"$log" 2>&1 </dev/null; }

# ---------------------------------------------------------------- system packages

present() {
    case $1 in
    lib*)
        local directory
        for directory in /usr/lib /usr/lib64 /usr/local/lib /usr/local/lib64; do
            compgen -G "$directory/$1*" || compgen -G "$directory/*-linux-*/$1*" || continue
            return 0
        done >/dev/null
        return 1
        ;;
    pam_*)
        compgen -G "/usr/lib*/security/$1" || compgen -G "/lib*/security/$1" ||
            compgen -G "/usr/lib/*/security/$1" || compgen -G "/lib/*/security/$1"
        ;;
    *) type -P "$1" || [[ -x /usr/sbin/$1 || -x /usr/local/sbin/$1 || -x /opt/homebrew/sbin/$1 ]] ;;
    esac >/dev/null
}

# missing TABLE: the packages whose thing is not there.
missing() {
    local row rest
    for row in $1; do
        rest=${row#*:}
        present "${row%%:*}" && continue
        case $manager in
        apt-get) printf '%s ' "${rest%:*}" ;;
        dnf) printf '%s ' "${rest#*:}" ;;
        *) printf '%s ' "${row%%:*}" ;;
        esac
    done
}

# The command for a user to type.
how_to_install() {
    local sudo='sudo '
    ((EUID)) || sudo=
    case $manager in
    apt-get | dnf) echo "$sudo$manager install $*" ;;
    brew) echo "brew install $*" ;;
    *) echo "install with this system's package manager: $*" ;;
    esac
}

may_install() {
    [[ -z ${SSHMUX_NO_INSTALL:-} ]] || return 1
    [[ $manager == apt-get || $manager == dnf ]] || return 1
    ((EUID == 0)) || { type -P sudo && sudo -n true; } >/dev/null 2>&1
}

as_root() {
    if ((EUID)); then sudo -n "$@"; else "$@"; fi 9>&- # what apt starts must not keep our lock
}

apt() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold "$@"
}

updated=
install_packages() {
    case $manager in
    apt-get)
        apt install --no-install-recommends "$@" && return
        [[ -z $updated ]] || return 1
        updated=yes # only now: the lists are missing or stale
        apt update
        apt install --no-install-recommends "$@"
        ;;
    dnf) quietly as_root dnf install -y --setopt=install_weak_deps=False "$@" ;;
    esac
}

# sshmux needs the program sshd; nobody asked for a server that the network can reach.
install_without_service() {
    local units='ssh.service ssh.socket sshd.service' status=0
    case " $* " in
    *' openssh-server '*) [[ -d /run/systemd/system ]] || units= ;;
    *) units= ;;
    esac
    # shellcheck disable=SC2086 # several words
    [[ -z $units ]] || quietly as_root systemctl mask --runtime $units || true
    install_packages "$@" || status=$?
    if [[ -n $units ]]; then
        # shellcheck disable=SC2086
        { quietly as_root systemctl unmask --runtime $units && quietly as_root systemctl disable $units; } || true
        say "the system's own sshd service was left off"
    fi
    return "$status"
}

# set_up_required NEEDED OPTIONAL
set_up_required() {
    [[ -n $1 ]] || return 0
    # shellcheck disable=SC2086 # several words
    may_install || die "missing, and needed: $1- run: $(how_to_install $1$2)"
    say "installing $1"
    # shellcheck disable=SC2086
    install_without_service $1 || die_with_log "could not install $1- try: $(how_to_install $1)"
}

set_up_optional() {
    [[ -n $1 ]] || return 0
    local package
    # shellcheck disable=SC2086 # several words
    if may_install; then
        say "installing $1(for tests)"
        install_packages $1 || for package in $1; do # one unknown name fails them all
            install_packages "$package" || true
        done
    fi
    optional=$(missing "$FOR_TESTS")
    printf '%s\n' "$optional" >"$tried"
}

# ---------------------------------------------------------------- Python

# python_version COMMAND: its version, if it runs at all (a pyenv shim may not) and is new enough.
python_version() {
    "$1" -IS -c 'import sys
sys.version_info >= (3, 11) or sys.exit(1)
print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null
}

has_venv() { "$1" -I -c 'import ensurepip, venv' >/dev/null 2>&1 </dev/null; }

find_python() {
    local name path first=
    if [[ -n ${SSHMUX_PYTHON:-} ]]; then
        base_python=$SSHMUX_PYTHON
        python_version "$base_python" >/dev/null || die "SSHMUX_PYTHON=$base_python is no working Python >= 3.11"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3; do
        while IFS= read -r path; do
            base_python=$path
            python_version "$path" >/dev/null || continue
            has_venv "$path" && return
            first=${first:-$path}
        done < <(type -aP "$name")
    done
    base_python=$first # Debian's, without its package for venv
    [[ -n $first ]] || die "no Python >= 3.11 found. Install one, or name it: SSHMUX_PYTHON=/path/to/python3"
}

# Debian and Ubuntu keep venv's better half in a package of its own.
venv_package() {
    if [[ $manager == apt-get ]]; then
        "$base_python" -I -c 'import sys; print("python%d.%d-venv " % sys.version_info[:2])'
    else
        die "$base_python has no ensurepip, which a virtual environment needs: use another, with SSHMUX_PYTHON"
    fi
}

# What pip reads of pyproject.toml: the settings of tools are no reason to install again.
fingerprint() {
    awk '/^\[/ { on = /^\[(build-system|project|tool\.hatch)/ } on' pyproject.toml |
        cat - scripts/locked.txt | cksum
}

# venv_works: made with the Python that is asked for, at this place, and not broken since.
venv_works() {
    local version
    version=$(python_version "$PYTHON") || return 1
    [[ -z ${SSHMUX_PYTHON:-} || $(python_version "$SSHMUX_PYTHON") == "$version" ]] || return 1
    if [[ -f $stamp ]]; then
        [[ $(head -n 2 "$stamp") == "$version"$'\n'"$venv" ]]
    else
        "$PYTHON" -m pip --version >/dev/null 2>&1 </dev/null
    fi
}

venv_is_current() {
    [[ -f $stamp && $(tail -n +3 "$stamp") == "$(fingerprint)" ]] && venv_works
}

make_venv() {
    # What is made anew is emptied first: behind a link that is somebody else's environment.
    [[ ! -L $venv ]] || die "$venv is a link: remove it, or name another directory with SSHMUX_VENV"
    rm -f "$stamp"
    find "$venv/" -mindepth 1 -maxdepth 1 ! -name 'sshmux-setup.*' -exec rm -rf {} +
    say "making ${venv#"$SSHMUX_ROOT"/} with Python $(python_version "$base_python") ($base_python)"
    quietly "$base_python" -m venv "$venv" || die_with_log "could not make the virtual environment $venv"
}

pip() { quietly env PIP_USER=0 "$PYTHON" -m pip --no-input --disable-pip-version-check "$@"; }

# The versions of scripts/locked.txt, and only files with those hashes.
install_locked() {
    pip install --require-hashes -r scripts/locked.txt &&
        pip install --no-deps --no-build-isolation -e .
}

install_project() {
    say "installing sshmux and its development tools (scripts/locked.txt)"
    rm -f "$stamp"
    if ! install_locked; then
        [[ -z ${SSHMUX_LOCKED:-} ]] || die_with_log "pip could not install the locked versions"
        say "the locked versions cannot be had here: others are installed (pip install -e '.[dev]')"
        pip install -e '.[dev]' || die_with_log "pip could not install the project"
    fi
    printf '%s\n%s\n%s\n' "$(python_version "$PYTHON")" "$venv" "$(fingerprint)" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

# Two scripts at once: the second waits. The kernel ends the lock, however its holder ends.
take_lock() {
    if [[ -e $venv && ! -e $venv/pyvenv.cfg && ! -e $lock && -n $(ls -A "$venv") ]]; then
        die "$venv is there and no virtual environment: set SSHMUX_VENV to another directory"
    fi
    { mkdir -p "$venv" && : >>"$lock"; } 2>/dev/null ||
        die "cannot write to $venv: set SSHMUX_VENV to a directory that you may write to"
    exec 9>>"$lock"
    local python=$PYTHON
    python_version "$python" >/dev/null || python=$base_python
    "$python" -IS -c 'import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("setup: waiting for another setup to finish", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError as error:
    print(f"setup: cannot lock here ({error.strerror}): run one script at a time", file=sys.stderr)'
}

# ---------------------------------------------------------------- all of it

# set_up PROGRAMS FOR_TESTS
set_up() {
    local needed make=
    venv_works || find_python
    take_lock
    : >"$log"
    needed=$(missing "$1") # anew: another setup may have been at work
    optional=$(missing "$2")
    if ! venv_works; then
        make=yes
        [[ -n ${base_python:-} ]] || find_python
        has_venv "$base_python" || needed+=$(venv_package)
    fi
    set_up_required "$needed" "$optional"
    [[ -z $make ]] || make_venv
    venv_is_current || install_project
    set_up_optional "$optional"
    exec 9>&-
}

sshmux_setup() {
    local required='' optional='' programs='' for_tests=''
    case $1 in
    tests) programs=$PROGRAMS for_tests=$FOR_TESTS ;;
    programs) programs=$PROGRAMS ;;
    python) ;;
    esac
    cd -- "$SSHMUX_ROOT" || exit
    required=$(missing "$programs")
    optional=$(missing "$for_tests")
    if [[ -n $required ]] || ! venv_is_current ||
        { [[ -n $optional ]] && [[ ! -f $tried || $(<"$tried") != "$optional" ]]; }; then
        set_up "$programs" "$for_tests"
    fi
    # shellcheck disable=SC2086 # several words
    [[ -z $optional ]] || say "some tests will be skipped. For all of them: $(how_to_install $optional)"
}
