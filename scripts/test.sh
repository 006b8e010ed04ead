#!/bin/sh
# Run the tests in .venv, made when missing: scripts/test.sh [pytest arguments]
set -eu
. "$(dirname "$0")/environment.sh"
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
