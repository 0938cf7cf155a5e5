# shellcheck shell=bash
# What the scripts share; each sources this file and then has $root, $python and the functions.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python=$root/.venv/bin/python

# Print the name of the first Python >= 3.11 that works. A name on the PATH may be a version manager's stub
# that cannot run, so each is tried.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "scripts: no Python >= 3.11 found as python3, python3.11 to python3.14 or python" >&2
    return 1
}

# prepare LEVEL...: make what the script needs (see environment.py).
prepare() {
    local found
    found=$(find_python) || return
    "$found" "$root/scripts/environment.py" "$@"
}
