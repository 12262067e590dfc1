#!/usr/bin/env bash
# Makes the Python environment of the converter in load-tests/.cache/venv and prints its interpreter.
# Only convert.py needs it; expected.py and compare.py run on a plain Python 3.11.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/../.cache/venv"
stamp="$venv/.installed"

if ! cmp --silent "$here/requirements.txt" "$stamp"; then
    rm -rf "$venv"
    "${PYTHON:-python3.11}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi
echo "$(cd "$venv" && pwd)/bin/python"
