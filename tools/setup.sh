#!/bin/sh
# Called by `make setup`, `make demo` and `make test`: brings a fresh machine to where drystone runs from this checkout.
#
#   tools/setup.sh [postgresql]
#
# Needs Python 3.11 or newer. Makes .venv with exactly what requirements.lock names, and as root on Debian installs what the
# lab needs. Does only what is missing, so it may be run at any time. PYTHON names the interpreter to use.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
ours=

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }
is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

tidy() {
    case $ours in *policy*) rm -f "$policy" ;; esac
    case $ours in *clusters*) sed -i '/^create_main_cluster = false$/d' "$clusters" ;; esac
    ours=
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A package's maintainer script starts its daemon unless policy-rc.d says no; the lab wants the program, not the service.
hold_services() {
    [ -e "$policy" ] && return
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours="$ours policy"
}

apt_updated=
install() {
    say "installing the Debian packages: $*"
    hold_services
    [ -n "$apt_updated" ] || quietly apt-get update
    apt_updated=yes
    quietly apt-get install --yes --no-install-recommends "$@"
}

# A page of package names helps nobody, unless it went wrong.
quietly() {
    log=$(mktemp)
    if DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1; then rm -f "$log"; return; fi
    cat "$log" >&2
    rm -f "$log"
    fail "$* failed: see above"
}

missing() {
    for package in "$@"; do is_installed "$package" || printf '%s ' "$package"; done
}

install_lab() {
    packages=$(missing openssh-server iproute2 tini nftables)
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086  # a list of words
    install $packages
    case $packages in
    *openssh-server*)
        # Installed for the lab only: not to be started at the next boot either.
        if [ -d /run/systemd/system ]; then systemctl -q disable ssh.service ssh.socket 2>/dev/null || :; fi
        update-rc.d ssh disable >/dev/null 2>&1 || :
        ;;
    esac
}

# The playbooks run their own cluster, so Debian's is not made.
install_postgresql() {
    is_installed postgresql && return
    set -- /usr/lib/postgresql/*/bin/initdb
    [ -x "$1" ] && return
    install postgresql-common
    if ! grep -q '^create_main_cluster' "$clusters"; then
        echo 'create_main_cluster = false' >>"$clusters"
        ours="$ours clusters"
    fi
    install postgresql
}

tell_lab() {
    absent=
    for program in sshd ip tini nft; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || absent="$absent $program"
    done
    case $absent in
    '') ;;
    *sshd*) say "not found:$absent. The lab cannot run without sshd: install openssh-server iproute2 tini nftables" ;;
    *) say "not found:$absent. The lab falls back to its loopback mode: its machines share this one's network and files" ;;
    esac
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_recent "$candidate"; then command -v "$candidate"; return; fi
    done
    fail "no Python 3.11 or newer found as ${PYTHON:-python3}: install one, or say PYTHON=/path/to/python3 make setup"
}

make_venv() {
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        is_debian_root || fail "$python has no venv module: install the package python3-venv"
        install python3-venv
        "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python has no venv module, and python3-venv did not bring it"
    fi
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
}

# Scripts in a virtual environment name its place: one that was moved or half made is made anew.
is_whole() {
    is_recent "$venv/bin/python" && "$venv/bin/pip" --version >/dev/null 2>&1 &&
        [ "$("$venv/bin/python" -c 'import sys; print(sys.prefix)')" = "$(pwd -P)/$venv" ]
}

# What .venv was made from; the checkout's place counts, because the package is installed in place.
fingerprint() {
    { pwd -P; cat requirements.lock pyproject.toml tools/setup.sh; } | cksum
}

# Errors only: what pip warns of is how this machine is configured.
pip_install() { "$venv/bin/python" -m pip --quiet --quiet --disable-pip-version-check install "$@"; }

if is_debian_root; then
    install_lab
    case " $* " in *" postgresql "*) install_postgresql ;; esac
fi
tell_lab

if [ "$(cat "$venv/.fingerprint" 2>/dev/null)" = "$(fingerprint)" ] && is_recent "$venv/bin/python"; then exit 0; fi
is_whole || make_venv
rm -f "$venv/.fingerprint"
say "installing what requirements.lock names"
# The build tool comes first: python-terraform has no wheel, and building it in isolation would fetch an unpinned tool.
awk '/^[^ ]/ { wanted = /^setuptools==/ } wanted' requirements.lock >"$venv/build-tools.lock"
pip_install --require-hashes --requirement "$venv/build-tools.lock"
pip_install --require-hashes --no-build-isolation --use-pep517 --requirement requirements.lock
pip_install --no-deps --no-build-isolation --editable .
fingerprint >"$venv/.fingerprint"
say "ready: $venv/bin/drystone"
