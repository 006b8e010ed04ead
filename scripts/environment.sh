# Sourced by the other scripts: makes .venv with the locked versions, unless it has them already.
# PYTHON=/path/to/python chooses the interpreter (3.11 to 3.13).
cd "$(dirname "$0")/.."

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "tfskin needs Python 3.11, 3.12 or 3.13 on the PATH (or PYTHON=/path/to/python)" >&2
    exit 2
}

if ! cmp -s requirements.lock .venv/requirements.lock; then
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python)
        echo "making .venv with $("$python" --version)"
        "$python" -m venv .venv
    fi
    echo "installing the locked versions (a minute or two)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --editable .
    cp requirements.lock .venv/requirements.lock
fi
