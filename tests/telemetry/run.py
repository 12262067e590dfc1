#!/usr/bin/env python3
"""Checks dashboards and rules against a real Prometheus that has scraped a real run.

Starts `cargo-pilot serve --demo` with an admin port and a Prometheus, on ports and folders of their own, gives the
server work, and fails when the query of a panel returns nothing, a rule cannot be evaluated, an alert fires after a run
in which nothing was wrong, or a rule test fails. Needs promtool and prometheus: `apt-get install prometheus` is run
quietly when they are not there.

    tests/telemetry/run.py                   builds the server first
    tests/telemetry/run.py --server PATH     takes this one
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
K8S = ROOT / "k8s"
# How long anything may take.
PATIENCE_S = 90
# How long the server has work: a rate needs some scrapes, and every consumer some time.
LOAD_S = 25
WORKERS = 2


def install():
    """Makes sure that prometheus and promtool are there."""
    if shutil.which("promtool") and shutil.which("prometheus"):
        return
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "prometheus"]
    subprocess.run(command, check=True, **quiet)


def wait(what, condition):
    """Waits until `condition` gives something true, which it gives back."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (urllib.error.URLError, ConnectionError, OSError):
            pass
        time.sleep(0.1)
    sys.exit(f"waited too long: {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(base, key, method, path, body=None, idempotency_key=None):
    """Status and body of a request; an answer that is an error is an answer."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    if idempotency_key:
        headers["idempotency-key"] = idempotency_key
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def work(base, key, until, failures):
    """Posts, reads, and does what is refused, until it is time."""
    try:
        variants = call(base, key, "GET", "/v1/variants?pageSize=8")[1]["variants"]
        locations = call(base, key, "GET", "/v1/locations")[1]["locations"]
        me, turn = threading.get_ident(), 0
        while time.monotonic() < until:
            turn += 1
            variant = variants[turn % len(variants)]["id"]
            movement = {
                "kind": "purchase.receipt", "variantId": variant, "locationId": locations[0]["id"], "quantity": "1",
                "unitCost": {"currency": "USD", "amount": "1.5"},
                "source": {"type": "purchase_order", "id": f"{me}", "lineId": f"{turn}"},
            }
            asked = [
                (201, ("POST", "/v1/movements", movement, f"{me}/{turn}")),
                (400, ("POST", "/v1/movements", {**movement, "quantity": "x"}, f"{me}/{turn}/x")),
                (200, ("GET", f"/v1/movements?variantId={variant}&pageSize=5")),
                (200, ("GET", f"/v1/variants/{variant}")),
                (200, ("GET", "/v1/businesses")),
                (404, ("GET", "/v1/variants/" + locations[0]["id"].replace("loc_", "var_"))),
            ]
            if turn % 10 == 0:
                product = {"name": f"{me} {turn}", "variants": [{"sku": f"S-{me}-{turn}"}]}
                asked.append((201, ("POST", "/v1/products", product)))
            for expected, question in asked:
                status, answer = call(base, key, *question)
                if status != expected:
                    failures.append(f"{question}: {status} {answer}")
                    return
    except Exception as error:  # a worker that dies silently would leave a quiet system
        failures.append(f"{error!r}")


def promtool(*args):
    """Runs promtool; what it says is for who reads the failure."""
    done = subprocess.run(["promtool", *args], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"promtool {' '.join(map(str, args))}:\n{done.stdout}{done.stderr}")


def check(base, prometheus):
    """What Prometheus says of the rules and the dashboards."""
    def groups():
        with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
            found = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
        return found if found and all(rule["health"] != "unknown" for rule in found) else None

    rules = wait("every rule was evaluated", groups)
    broken = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    print(f"{len(rules)} rules evaluated, {len(broken)} broken, {len(firing)} firing")
    if broken or firing:
        sys.exit(f"broken rules: {broken}; firing after a run in which nothing was wrong: {firing}")
    dashboards = sorted((K8S / "dashboards").glob("*.json"))
    subprocess.run([HERE / "dashboard_queries.py", "--prometheus", prometheus, *dashboards], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=Path, help="the executable; built when absent")
    args = parser.parse_args()
    install()
    rules = K8S / "rules" / "cargo-pilot.yaml"
    promtool("check", "rules", rules)
    promtool("test", "rules", K8S / "rules" / "tests.yaml")
    print("promtool: rules and their tests are fine")

    server = args.server
    if server is None:
        subprocess.run(["cargo", "build", "--quiet", "-p", "server"], cwd=ROOT, check=True)
        server = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "cargo-pilot"
    started = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        try:
            command = [server.resolve(), "serve", "--demo", "--json", "--listen", "127.0.0.1:0",
                       "--admin-listen", "127.0.0.1:0", "--data", folder / "data"]
            with (folder / "server.log").open("w") as log:
                running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
            started.append(running)
            ready = json.loads(running.stdout.readline() or sys.exit((folder / "server.log").read_text()))
            base, key, admin = ready["url"], ready["apiKey"], ready["adminUrl"].removeprefix("http://")

            port = free_port()
            config = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [{"job_name": "cargo-pilot", "static_configs": [{"targets": [admin]}]}],
            }
            (folder / "prometheus.yml").write_text(json.dumps(config))
            with (folder / "prometheus.log").open("w") as log:
                started.append(subprocess.Popen(
                    ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                     f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log))
            prometheus = f"http://127.0.0.1:{port}"
            wait("Prometheus is ready", lambda: urllib.request.urlopen(f"{prometheus}/-/ready", timeout=5))

            failures, until = [], time.monotonic() + LOAD_S
            workers = [threading.Thread(target=work, args=(base, key, until, failures)) for _ in range(WORKERS)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            if failures:
                sys.exit(f"the work did not go as it should: {failures}")
            check(base, prometheus)
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()


if __name__ == "__main__":
    main()
