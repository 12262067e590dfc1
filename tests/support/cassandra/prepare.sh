#!/bin/bash
# Makes one Cassandra ready for tests, and prints the folder of its jars: prepare.sh [CACHE]
# Installs java and mvn with apt where they are missing. May run several times at once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*<cassandra.version>\(.*\)</cassandra.version>.*:\1:p' "$here/pom.xml")
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/cargo-pilot/cassandra-$version}
mkdir -p "$cache"
exec 9> "$cache/.lock"
flock 9
if [ ! -e "$cache/lib/.complete" ] || ! command -v java > /dev/null; then
  missing=()
  command -v java > /dev/null || missing+=(openjdk-17-jre-headless)
  command -v mvn > /dev/null || missing+=(maven)
  if [ ${#missing[@]} -gt 0 ]; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >&2 ||
      { echo "Cassandra needs ${missing[*]}, and apt could not install them: install them by hand" >&2; exit 1; }
  fi
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/lib" >&2 ||
    { echo "the jars of Cassandra $version could not be fetched" >&2; exit 1; }
  touch "$cache/lib/.complete"
fi
echo "$cache/lib"
