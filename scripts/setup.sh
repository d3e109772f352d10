#!/usr/bin/env bash
# Make <repo>/.venv and install the project in it, editable.
#
#   scripts/setup.sh        what a run needs
#   scripts/setup.sh tasks  that, and the data of the tasks that come with the project
#   scripts/setup.sh dev    that, and what the tests need
#
# A stamp in .venv, keyed on pyproject.toml, the extras and where the repository lies, makes
# the second call a matter of milliseconds. It is written last: an interrupted install has no
# stamp, and the next call finishes it.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$repo/.venv"
extras="${1:-}"

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}

# Python, PyTorch and pip all end with messages of their own in a folder that was deleted.
pwd -P >/dev/null 2>&1 ||
    fail "the folder that you are in does not exist any more; go to another one first: cd ~"

case "$extras" in
"" | tasks | dev) ;;
*) fail "unknown extra '$extras'; use: scripts/setup.sh [tasks|dev]" ;;
esac

fingerprint() {
    { cat "$repo/pyproject.toml" && printf '%s' "$repo"; } |
        if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi |
        cut -d ' ' -f 1
}

stamp_of() { printf '%s' "$venv/.installed-${1:-base}"; }

# "dev" contains everything of "tasks", and that of the plain install, so a stamp of more will do.
up_to_date() {
    local wanted stamp
    wanted="$(fingerprint)"
    [ -x "$venv/bin/python" ] || return 1
    local stamps=("$(stamp_of dev)" "$(stamp_of "$extras")")
    if [ -z "$extras" ]; then stamps+=("$(stamp_of tasks)"); fi
    for stamp in "${stamps[@]}"; do
        if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return 0; fi
    done
    return 1
}

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3; do
        if command -v "$candidate" >/dev/null && recent_enough "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# Hold a lock while installing. Python's flock works alike on Linux and macOS, and the kernel
# lets go of it when the holder dies, so there is never a stale lock to clean up.
hold_lock() {
    mkdir -p "$venv"
    # The lock is a file descriptor, which the new bash and pip inherit.
    exec "$1" - "$venv/.setup-lock" "$BASH" "${BASH_SOURCE[0]}" "$extras" <<'PYTHON'
import fcntl, os, sys

path, bash, script, extras = sys.argv[1:]
descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("Another set-up of this folder is running; waiting for it.", file=sys.stderr)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
os.set_inheritable(descriptor, True)
os.environ["DELTA_FEDAVG_SETUP_LOCKED"] = path
os.execv(bash, [bash, script, extras])
PYTHON
}

make_venv() {
    local python="$1"
    if [ -e "$venv/bin/python" ] && ! [ -f "$venv/.moved" ] &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        recent_enough "$venv/bin/python" ||
            fail "$venv has a Python older than 3.11; delete that folder and try again."
        return 0
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module (on Debian and Ubuntu: apt install python3-venv)."
    say "Creating $venv with $("$python" --version)."
    find "$venv" -mindepth 1 -maxdepth 1 ! -name .setup-lock -exec rm -rf {} +
    "$python" -m venv "$venv" || fail "could not create $venv."
}

has_torch() {
    local folder
    for folder in "$venv"/lib/python*/site-packages/torch; do
        if [ -d "$folder" ]; then return 0; fi
    done
    return 1
}

# Before a first installation: it may be more than one wants to download.
announce() {
    say "Installing the project and its dependencies into $venv."
    if has_torch; then return 0; fi
    say "The first time this takes minutes. On Linux on x86-64 it downloads about 3 GB and takes about"
    say "7 GB of disk, most of it the CUDA libraries of torch; elsewhere it is far less."
    say "Without a GPU, torch's CPU build does the same and is a download of some 200 MB. If a package"
    say "index that you can reach offers it, stop here (Ctrl-C) and name that index to pip:"
    say "    PIP_EXTRA_INDEX_URL=ADDRESS scripts/setup.sh"
    say "pip prefers a build such as torch 2.15.0+cpu to 2.15.0. Or install it first, and start again:"
    say "    .venv/bin/python -m pip install --index-url ADDRESS torch torchvision"
}

# pip's own progress bars on a terminal; elsewhere a line now and then.
run_pip() {
    local pip=("$venv/bin/python" -m pip install --disable-pip-version-check)
    if [ -t 2 ]; then
        "${pip[@]}" --editable "$1" >&2
    else
        "${pip[@]}" --progress-bar off --editable "$1" 2>&1 |
            "$venv/bin/python" -I "$repo/scripts/setup_progress.py" "$venv" >&2
    fi
}

install_project() {
    local target="$repo" stamp
    [ -z "$extras" ] || target="$repo[$extras]"
    rm -f "$(stamp_of)" "$(stamp_of tasks)" "$(stamp_of dev)"
    announce
    run_pip "$target" ||
        fail "the installation failed (see above); run the command again to continue it."
    printf '%s\n' "$repo" >"$venv/.location"
    stamp="$(stamp_of "$extras")"
    fingerprint >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "Installed."
}

if up_to_date; then exit 0; fi

python="$(find_python)" || fail "Python 3.11 or newer is needed; none of python3.13, python3.12, \
python3.11, python3 on the PATH is. Found: $(python3 --version 2>&1 || true)"
if [ "${DELTA_FEDAVG_SETUP_LOCKED:-}" != "$venv/.setup-lock" ]; then
    hold_lock "$python" # does not return: it runs this script again, under the lock
fi
# The commands in a .venv name its folder, so one that was moved along with the repository
# has to be made anew.
if [ -f "$venv/.location" ] && [ "$(cat "$venv/.location")" != "$repo" ]; then
    touch "$venv/.moved"
fi
make_venv "$python"
install_project
