"""Measures what a PostgreSQL function posts on this machine, as the yardstick of the load tests.

Makes an own cluster from the system's packages (own folder, own port, every commit synced), creates schema.sql,
drives it with pgbench, checks that every balance is the sum of its movements, prints JSON, and removes the
cluster. Needs PostgreSQL 13 or newer with pgbench. Run as root it becomes the user `postgres` for the server.
"""

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ITEMS = 10_000
# Items that the reads of history use; each has at least HISTORY movements by then.
READ_ITEMS, HISTORY = 1_000, 60
# Postings of a warm-up, seconds: relations grow, plans are cached.
WARM_UP_S = 2

SETTINGS = {
    "shared_buffers": "4GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "20min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_sync_method": "fdatasync",
    "jit": "off",
    "max_connections": "300",
    "log_min_messages": "fatal",
}

KEY = "\\set key random(1, 9000000000000000000)\n"
ANY_ITEM = f"\\set item random(1, {ITEMS})\n"
POST = "SELECT seq, balance_after FROM post_movement(1, {item}, 1, 1000000, :key);\n"
UNIFORM, HOT = f"random_items(100, {ITEMS})", "array_fill(1::bigint, ARRAY[100])"
BATCH = "SELECT post_batch_{how}(1, {items}, 1000000, :key);\n"


class Scenario:
    """One pgbench script; `movements` is how many one transaction posts, 0 for a read."""

    def __init__(self, script: str, movements: int, clients: list[int]) -> None:
        self.script, self.movements, self.clients = script, movements, clients


SCENARIOS = {
    "uniform": Scenario(KEY + ANY_ITEM + POST.format(item=":item"), 1, [1, 8, 32, 64, 128]),
    "hot": Scenario(KEY + POST.format(item="1"), 1, [1, 8, 32, 128]),
    "batch-loop-uniform": Scenario(KEY + BATCH.format(how="loop", items=UNIFORM), 100, [1, 8]),
    "batch-set-uniform": Scenario(KEY + BATCH.format(how="set", items=UNIFORM), 100, [1, 8]),
    "batch-loop-hot": Scenario(KEY + BATCH.format(how="loop", items=HOT), 100, [8]),
    "batch-set-hot": Scenario(KEY + BATCH.format(how="set", items=HOT), 100, [8]),
    "balance": Scenario(
        ANY_ITEM + "SELECT on_hand, value, last_seq FROM balance WHERE tenant = 1 AND item = :item AND location = 1;\n",
        0, [8]),
    "last50": Scenario(
        f"\\set item random(1, {READ_ITEMS})\n"
        "SELECT * FROM movement WHERE tenant = 1 AND item = :item AND location = 1 ORDER BY seq DESC LIMIT 50;\n",
        0, [8]),
}


def binaries() -> Path:
    """Folder of the newest installed server."""
    found = [Path(p).parent for p in [shutil.which("initdb")] if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    for folder in found:
        folder = (folder / "initdb").resolve().parent
        if all((folder / name).exists() for name in ["initdb", "pg_ctl", "postgres", "pgbench", "psql"]):
            return folder
    sys.exit("PostgreSQL is not installed; install it (apt-get install postgresql) or run with --install")


class Cluster:
    """A PostgreSQL cluster of our own, gone when the `with` block ends."""

    def __init__(self, parent: Path, buffers: str) -> None:
        self.bin = binaries()
        self.user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.folder = Path(tempfile.mkdtemp(prefix="cargo-pilot-baseline-", dir=parent))
        self.settings = SETTINGS | {"shared_buffers": buffers}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.password = secrets.token_hex(16)
        self.env = os.environ | {
            "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "baseline", "PGDATABASE": "postgres",
            "PGPASSWORD": self.password, "LC_ALL": "C",
        }

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.remove()

    @property
    def data(self) -> Path:
        """Data folder of the cluster."""
        return self.folder / "data"

    def start(self) -> None:
        """Makes and starts the cluster, and loads the schema."""
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        if self.user:
            for path in [self.folder, secret]:
                shutil.chown(path, "postgres")
        self.server("initdb", "-D", self.data, "-U", "baseline", "-A", "scram-sha-256", "--pwfile", secret,
                    "-E", "UTF8", "--no-locale")
        settings = self.settings | {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.server("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "start")
        self.psql("-q", "-f", HERE / "schema.sql")
        self.psql("-q", "-c", f"CALL open_items({ITEMS})", "-c", "VACUUM ANALYZE", "-c", "CHECKPOINT")

    def remove(self) -> None:
        """Stops the server and deletes all that it wrote."""
        if (self.data / "postmaster.pid").exists():
            self.server("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    def server(self, name: str, *args) -> None:
        """Runs a program of the server side as its user."""
        done = subprocess.run([*self.user, self.bin / name, *args], env=self.env, cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout}")

    def psql(self, *args) -> str:
        """Output of psql, without decoration; any error ends the run."""
        return subprocess.run([self.bin / "psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", *args], env=self.env,
                              check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def memory_mb(self) -> int:
        """Memory of all processes of the cluster, shared parts counted once (PSS), in MB of 10^6 bytes."""
        main = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        kilobytes = 0
        for pid in [main, *children]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                kilobytes += int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
        return kilobytes * 1024 // 1_000_000

    def pgbench(self, script: str, clients: int, seconds: int, rate: int | None) -> dict:
        """Drives one script; returns transactions a second and exact percentiles of their latency."""
        with tempfile.TemporaryDirectory(prefix="cargo-pilot-pgbench-") as folder:
            file = Path(folder, "script.sql")
            file.write_text(script)
            command = [self.bin / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)),
                       "-T", str(seconds), "-f", file, "-l", "--log-prefix", f"{folder}/log"]
            if rate:
                command += ["-R", str(rate)]
            done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
            if done.returncode or "aborted" in done.stderr or (failed and int(failed[1])):
                raise RuntimeError(f"pgbench: {done.stdout[-1000:]}{done.stderr[:1000]}")
            # Client, number, latency in µs (from the scheduled start when there is a rate), …
            latencies = sorted(int(line.split(" ", 3)[2])
                               for log in Path(folder).glob("log.*") for line in log.open())
        return {
            "clients": clients,
            "rate": rate,
            "seconds": seconds,
            "per_second": float(re.search(r"^tps = ([\d.]+)", done.stdout, re.M)[1]),
            "p50_us": latencies[len(latencies) // 2],
            "p99_us": latencies[len(latencies) * 99 // 100],
            "max_us": latencies[-1],
        }


def measure(cluster: Cluster, wanted: list[tuple[str, list[int], int | None]], seconds: int) -> dict:
    """Runs the scenarios in order, checks the ledger after them, and returns everything for the report."""
    cluster.pgbench(SCENARIOS["uniform"].script, 8, WARM_UP_S, None)
    results, grown = [], False
    for name, clients, rate in wanted:
        scenario = SCENARIOS[name]
        if name == "last50" and not grown:
            cluster.psql("-q", "-c", f"""
                DO $$ BEGIN FOR k IN 1 .. {HISTORY} LOOP
                    PERFORM post_batch_loop(1, (SELECT array_agg(i) FROM generate_series(1, {READ_ITEMS}) i), 1000000,
                                            9100000000000000000 + k * {READ_ITEMS});
                END LOOP; END $$""")
            grown = True
        for count in clients:
            result = cluster.pgbench(scenario.script, count, seconds, rate)
            results.append({"scenario": name, "movements_per_call": scenario.movements} | result)
            print(f"{name} {count}: {result['per_second']:.0f}/s", file=sys.stderr)

    memory = cluster.memory_mb()
    wrong = int(cluster.psql("-c", "SELECT count(*) FROM wrong_item"))
    movements = int(cluster.psql("-c", "SELECT count(*) FROM movement"))
    size = int(cluster.psql("-c", "SELECT pg_total_relation_size('movement') + pg_total_relation_size('balance')"))
    return {
        "postgres": cluster.psql("-c", "SHOW server_version"),
        "settings": {name: cluster.psql("-c", f"SHOW {name}") for name in cluster.settings},
        "results": results,
        "memory_mb": memory,
        "bytes_per_movement": size // movements,
        "checks": {"items": ITEMS, "movements": movements, "wrong_items": wrong},
    }


def parse_scenario(text: str) -> tuple[str, list[int], int | None]:
    """`hot`, `hot:8,32` or `uniform:32@4000` (offered transactions a second)."""
    match = re.fullmatch(r"([\w-]+)(?::(\d+(?:,\d+)*))?(?:@(\d+))?", text)
    if not match or match[1] not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"{text!r}: one of {', '.join(SCENARIOS)}, then :clients[,clients][@rate]")
    clients = [int(c) for c in match[2].split(",")] if match[2] else SCENARIOS[match[1]].clients
    return match[1], clients, int(match[3]) if match[3] else None


def default_buffers() -> str:
    """4 GB, or a quarter of the memory where that is less."""
    megabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4_000_000
    return "4GB" if megabytes >= 4_096 else f"{megabytes}MB"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", type=parse_scenario, metavar="NAME[:CLIENTS][@RATE]",
                        help=f"default: all of {', '.join(SCENARIOS)} at their usual numbers of clients")
    parser.add_argument("--seconds", type=int, default=5, help="of each run; default %(default)s")
    parser.add_argument("--parent", type=Path, default=Path("/var/tmp"),
                        help="where the cluster's folder is made; a real disk; default %(default)s")
    parser.add_argument("--shared-buffers", default=default_buffers(), help="default %(default)s")
    parser.add_argument("--install", action="store_true", help="apt-get install postgresql when it is absent")
    args = parser.parse_args()

    if args.install and not shutil.which("initdb") and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"], check=True,
                       stdout=sys.stderr, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    # The cluster is removed on these as well.
    for number in [signal.SIGTERM, signal.SIGHUP]:
        signal.signal(number, lambda *_: sys.exit("stopped"))

    wanted = args.scenarios or [(name, scenario.clients, None) for name, scenario in SCENARIOS.items()]
    started = time.monotonic()
    with Cluster(args.parent, args.shared_buffers) as cluster:
        report = measure(cluster, wanted, args.seconds)
    json.dump(report | {"took_s": round(time.monotonic() - started)}, sys.stdout, indent=2)
    print()
    if report["checks"]["wrong_items"]:
        sys.exit("balances are not the sums of their movements")


if __name__ == "__main__":
    main()
