"""Compares every balance of a running Cargo Pilot with what expected.py computed.

Fetches all variants, locations and balances over REST. Compared for each item: on hand, value and number of
movements; for each item and location: on hand and number of movements. Equal means to the last unit and the
last cent. Exit status: 0 equal, 1 different, 2 the server could not be read.
"""

import argparse
import http.client
import json
import os
import sys
import time
import urllib.parse
from pathlib import Path

import exact

PAGE_SIZE = 500


class Api:
    """REST over one kept connection."""

    def __init__(self, url: str, key: str) -> None:
        parts = urllib.parse.urlsplit(url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = make(parts.hostname, parts.port, timeout=60)
        self.headers = {"authorization": f"Bearer {key}"}

    def get(self, path: str, query: dict[str, str]) -> dict:
        """One answer, or RuntimeError with what the server said."""
        self.connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers=self.headers)
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"GET {path}: {response.status} {body[:500].decode(errors='replace')}")
        return json.loads(body)

    def all(self, collection: str):
        """Yields every resource of a collection, page by page."""
        query = {"pageSize": str(PAGE_SIZE)}
        while True:
            page = self.get(f"/v1/{collection}", query)
            yield from page.get(collection, [])
            if not (token := page.get("nextPageToken")):
                return
            query["pageToken"] = token


def fetch(api: Api):
    """Returns the ledger's figures in the shape of `expectation`, and the SKUs of all variants."""
    skus = {variant["id"]: variant["sku"] for variant in api.all("variants")}
    codes = {location["id"]: location["code"] for location in api.all("locations")}
    items, places = {}, {}
    for balance in api.all("balances"):
        sku = skus.get(balance["variantId"], balance["variantId"])
        if sku in items:
            raise RuntimeError(f"item {sku} is listed twice")
        items[sku] = (
            exact.parse(balance.get("onHand", "0"), exact.QUANTITY_PLACES),
            exact.parse(balance.get("value", {}).get("amount", "0"), exact.AMOUNT_PLACES),
            int(balance.get("sequence", 0)),
        )
        for place in balance.get("locations", []):
            code = codes.get(place["locationId"], place["locationId"])
            places[sku, code] = (
                exact.parse(place.get("onHand", "0"), exact.QUANTITY_PLACES),
                int(place.get("movements", 0)),
            )
    return items, places, set(skus.values())


def expectation(folder: Path):
    """Returns {sku: (on hand, value, movements)} and {(sku, location): (on hand, movements)}."""
    checks = folder / exact.CHECKS
    quantity = lambda text: exact.parse(text, exact.QUANTITY_PLACES)  # noqa: E731
    items = {
        sku: (quantity(on_hand), exact.parse(value, exact.AMOUNT_PLACES), int(movements))
        for sku, on_hand, value, movements in exact.rows(
            checks / "expected_items.csv", exact.EXPECTED_ITEMS)
    }
    places = {
        (sku, location): (quantity(on_hand), int(movements))
        for sku, location, on_hand, movements in exact.rows(
            checks / "expected_places.csv", exact.EXPECTED_PLACES)
    }
    return items, places


def differences(expected: dict, found: dict, ours) -> list[str]:
    """What is missing, different or too much; keys that `ours` refuses belong to somebody else."""
    result = []
    for key, figures in expected.items():
        if key not in found:
            result.append(f"{key}: missing, expected {figures}")
        elif found[key] != figures:
            result.append(f"{key}: found {found[key]}, expected {figures}")
    result += [f"{key}: not expected, found {figures}"
               for key, figures in found.items() if key not in expected and ours(key)]
    return result


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder in which expected.py wrote")
    parser.add_argument("--url", required=True, help="http://127.0.0.1:8080")
    parser.add_argument("--key", default=os.environ.get("CARGO_PILOT_KEY"),
                        help="API key; default: the variable CARGO_PILOT_KEY")
    args = parser.parse_args()
    if not args.key:
        parser.error("--key or CARGO_PILOT_KEY is needed")

    started = time.monotonic()
    items, places = expectation(args.folder)
    products = {row[0] for row in exact.rows(args.folder / "products.csv", exact.PRODUCTS)}
    try:
        found_items, found_places, variants = fetch(Api(args.url, args.key))
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        print(f"cannot read the balances: {error}", file=sys.stderr)
        return 2
    wrong = [f"variant {sku}: missing" for sku in sorted(products - variants)]
    wrong += differences(items, found_items, lambda sku: sku in products)
    wrong += differences(places, found_places, lambda pair: pair[0] in products)

    for line in wrong[:20]:
        print(line, file=sys.stderr)
    json.dump({
        "variants": len(products),
        "items_compared": len(items),
        "places_compared": len(places),
        "movements_compared": sum(movements for _, _, movements in items.values()),
        "items_of_others": sum(sku not in products for sku in found_items),
        "differences": len(wrong),
        "seconds": round(time.monotonic() - started, 1),
    }, sys.stdout, indent=2)
    print()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
