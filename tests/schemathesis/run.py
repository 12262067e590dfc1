"""Asks a server whatever its OpenAPI document permits, and what it forbids.

Starts `cargo-pilot serve --demo` on a port and a folder of its own and runs Schemathesis over the document that it
serves. Fails for an answer 5xx, for an answer that the document does not describe, for a request that is accepted
although the document forbids it, and for an error in the log of the server.

`run.py` is the sample for every change (under three minutes); `run.py --cases 50000` is the long run (an hour).
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# Everything but `positive_data_acceptance`: what a document permits may still be against a rule of the business
# (a SKU that is taken, a sale of what is not there).
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]
# What would take the access of the run itself away; each is asked by itself at the end, with a key of its own.
LAST = ["/v1/account:close", "/v1/apiKeys/{apiKeyId}:rotate", "/v1/apiKeys/{apiKeyId}:revoke"]
# Cases for each operation in the sample.
SAMPLE = 10
# What the log of a server may have: nothing that a person would have to look at.
FAULT = re.compile(r'"level":"ERROR"|panicked')


def environment() -> Path:
    """Makes the virtual environment, pinned, if it is not there; gives its `st`."""
    folder = TARGET / "schemathesis"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = folder / ".installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        install = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return folder / "bin" / "st"


def new_key(url: str, owner: str) -> str:
    """Makes a key for a run, so that the owner's is never in danger."""
    body = json.dumps({"name": "schemathesis", "role": "owner"}).encode()
    headers = {"Authorization": f"Bearer {owner}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/apiKeys", body, headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["secret"]


def operations(url: str) -> int:
    """How many operations the document has."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        return sum(len(methods) for methods in json.load(answer)["paths"].values())


def run(st: Path, url: str, key: str, phases: str, examples: int, seed: int, paths: list[str]) -> tuple[bool, int]:
    """Runs Schemathesis; gives whether it found nothing, and how many cases there were."""
    # One worker: with two, Hypothesis now and then trips over its own cache of source lines.
    command = [st, "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--no-color"]
    command += ["--phases", phases, "--checks", ",".join(CHECKS), "--continue-on-failure"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--no-shrink", "--workers", "1"]
    command += ["--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"]
    done = subprocess.run([*map(str, command), *paths], capture_output=True, text=True, cwd=TARGET)
    found = re.search(r"(\d+) generated", done.stdout)
    cases = int(found.group(1)) if found else 0
    if done.returncode != 0 or cases == 0:
        print(done.stdout.replace(key, "KEY"), done.stderr, sep="\n")
        return False, cases
    return True, cases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=0, help="generated cases, about; the sample when absent")
    parser.add_argument("--seed", type=int, default=1, help="another seed asks other things")
    args = parser.parse_args()
    st = environment()
    subprocess.run(["cargo", "build", "--quiet", "-p", "server", "--bin", "cargo-pilot"], check=True, cwd=ROOT)
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+") as log:
        serve = [TARGET / "debug" / "cargo-pilot", "serve", "--demo", "--data", f"{folder}/data"]
        serve += ["--listen", "127.0.0.1:0", "--json"]
        server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
        try:
            ready = json.loads(server.stdout.readline())
            url, owner = ready["url"], ready["apiKey"]
            count = operations(url)
            # The coverage phase alone has some seventy cases for each operation.
            phases, examples = ("coverage,fuzzing", args.cases // count) if args.cases else ("fuzzing", SAMPLE)
            excluded = [part for path in LAST for part in ("--exclude-path", path)]
            # Made before the owner's key may be rotated.
            first, *others = [new_key(url, owner) for _ in range(1 + len(LAST))]
            fine, cases = run(st, url, first, phases, max(1, examples), args.seed, excluded)
            for path, key in zip(LAST, others, strict=True):
                well, more = run(st, url, key, phases, max(1, examples), args.seed, ["--include-path", path])
                fine, cases = fine and well, cases + more
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
        log.seek(0)
        faults = [line for line in log if FAULT.search(line)]
    print(*faults[:20], f"{cases} cases over {count} operations", sep="\n")
    return 0 if fine and not faults and server.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
