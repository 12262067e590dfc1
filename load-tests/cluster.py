#!/usr/bin/env python3
"""Postings a second of a cluster on this machine: 1, 2 and 4 stock processes over one database.

    load-tests/cluster.py [--server PATH] [--seconds 10] [--callers 32]

Starts `tests/support/cluster` for each number of processes, in a folder of its own, and posts over REST in a closed loop:
each caller has one call under way. *Uniform* is over 200 items, *hot* is one item; *hot, any process* is the same when calls
for one item go to whichever process. Prints a table in Markdown. Client, door, services, database and bus share the
cores, so figures say how the shapes compare, not what a cluster does on machines of its own.
"""
import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How long a start may take: the first one fetches the database.
START_S = 600
ITEMS = 200
# How long a run warms up: caches, connections, the first marks.
WARM_S = 3


class Door:
    """One kept connection to the public door."""

    def __init__(self, port, key):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.key = key

    def send(self, method, path, body=None, key=None):
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        if key:
            headers["idempotency-key"] = key
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text)

    def make(self, path, body):
        status, made = self.send("POST", path, body)
        if status not in (200, 201):
            raise SystemExit(f"{path}: {status} {made}")
        return made


class Cluster:
    """A cluster that runs until it is closed."""

    def __init__(self, server, stocks, hashed, port):
        self.port, self.folder = port, tempfile.TemporaryDirectory(prefix="cargo-pilot-cluster-")
        env = {**os.environ, "STOCKS": str(stocks), "HASH": "yes" if hashed else "no", "PORT": str(port)}
        if server:
            env["CARGO_PILOT"] = str(Path(server).resolve())
        command = [ROOT / "tests/support/cluster", "up", self.folder.name]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
        deadline, self.key = time.monotonic() + START_S, None
        for line in self.process.stdout:
            if found := re.search(r"cp_live_\w+", line):
                self.key = found[0]
            if line.startswith("Stop with") or time.monotonic() > deadline:
                break
        if self.key is None:
            raise SystemExit("the cluster did not start")

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.folder.cleanup()


def measure(cluster, variants, location, callers, seconds, name):
    """Postings a second, and the median and 99th percentile of their times in milliseconds."""
    begin = time.monotonic() + WARM_S
    end, times, lock, failed = begin + seconds, [], threading.Lock(), []

    def post(caller):
        door, number, mine = Door(cluster.port, cluster.key), 0, []
        while (now := time.monotonic()) < end:
            number += 1
            line = f"{name}-{caller}-{number}"
            body = {
                "kind": "purchase.receipt", "variantId": variants[(caller * 7919 + number) % len(variants)],
                "locationId": location, "quantity": "1", "unitCost": {"amount": "2", "currency": "USD"},
                "source": {"type": "goods_receipt", "id": "M", "lineId": line},
            }
            status, answer = door.send("POST", "/v1/movements", body, line)
            if status != 201:
                failed.append(f"{status} {answer}")
                return
            if now >= begin:
                mine.append(time.monotonic() - now)
        with lock:
            times.extend(mine)

    threads = [threading.Thread(target=post, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{name}: {failed[0]}")
    times.sort()
    return len(times) / seconds, 1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="the program; built in release mode when absent")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--stocks", default="1,2,4")
    given = parser.parse_args()
    print("| stock processes | run | postings/s | p50 ms | p99 ms |\n|---|---|---|---|---|", flush=True)
    for at, stocks in enumerate(int(stocks) for stocks in given.stocks.split(",")):
        for hashed in (True, False):
            if not hashed and stocks == 1:
                continue
            cluster = Cluster(given.server, stocks, hashed, 18300 + 40 * at + (20 if hashed else 0))
            try:
                door = Door(cluster.port, cluster.key)
                location = door.make("/v1/locations", {"code": "MAIN", "name": "Main"})["id"]
                product = lambda sku: {"name": sku, "variants": [{"sku": sku}]}  # noqa: E731
                variants = [
                    door.make("/v1/products", product(f"ITEM-{number}"))["variants"][0]["id"] for number in range(ITEMS)
                ]
                runs = [("uniform", variants), ("hot", variants[:1])] if hashed else [("hot, any process", variants[:1])]
                for name, chosen in runs:
                    figures = measure(cluster, chosen, location, given.callers, given.seconds, name.replace(" ", "-"))
                    print("| {} | {} | {:.0f} | {:.1f} | {:.1f} |".format(stocks, name, *figures), flush=True)
            finally:
                cluster.close()


if __name__ == "__main__":
    main()
