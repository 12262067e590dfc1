"""Computes from the import files what the ledger must say when all of them are imported.

Plain Python on exact integers. Rules: one cost pool (quantity, value) per item, in posting order; goods in
add their cost; goods out take round_half_away(value * quantity / pool quantity), so the last unit takes what
is left; nothing goes below zero. Posting order of an item: its openings, then its sales, as in the files.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import exact


class Pool:
    """Quantity, value and number of movements of one item in the business."""

    __slots__ = ("quantity", "value", "movements")

    def __init__(self) -> None:
        self.quantity = self.value = self.movements = 0

    def receive(self, quantity: int, cost: int) -> None:
        """Goods come in at their cost."""
        self.quantity += quantity
        self.value += cost
        self.movements += 1

    def issue(self, quantity: int) -> int:
        """Goods leave at the moving average; returns their cost."""
        if quantity > self.quantity:
            raise ValueError(f"{quantity} wanted, {self.quantity} there")
        cost = exact.divide_half_away(self.value * quantity, self.quantity)
        self.quantity -= quantity
        self.value -= cost
        self.movements += 1
        return cost


def replay(folder: Path):
    """Returns ({sku: Pool}, {(sku, location): [on hand, movements]}) after all rows of the files."""
    pools: dict[str, Pool] = {}
    places: dict[tuple[str, str], list[int]] = {}
    opening = ((row, 1) for row in exact.rows(folder / "opening.csv", exact.OPENING))
    sales = ((row, -1) for row in exact.rows(folder / "sales.csv", exact.SALES))
    for source in (opening, sales):
        for (_, _, sku, location, quantity, amount, _, _), sign in source:
            millionths = exact.parse(quantity, exact.QUANTITY_PLACES)
            if millionths <= 0:
                raise ValueError(f"sku {sku} at {location}: quantity {quantity}")
            pool = pools.setdefault(sku, Pool())
            if sign > 0:
                pool.receive(millionths, exact.parse(amount, exact.AMOUNT_PLACES))
            else:
                pool.issue(millionths)
            place = places.setdefault((sku, location), [0, 0])
            place[0] += sign * millionths
            place[1] += 1
            if place[0] < 0:
                raise ValueError(f"sku {sku} at {location}: below zero")
    return pools, places


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder that convert.py made")
    folder = parser.parse_args().folder
    started = time.monotonic()
    pools, places = replay(folder)
    for sku, pool in pools.items():
        assert pool.quantity or not pool.value, f"sku {sku}: value {pool.value} without stock"

    checks = folder / exact.CHECKS
    checks.mkdir(exist_ok=True)
    quantity_text = lambda q: exact.show(q, exact.QUANTITY_PLACES)  # noqa: E731
    amount_text = lambda v: exact.show(v, exact.AMOUNT_PLACES, exact.AMOUNT_PLACES)  # noqa: E731
    exact.write(checks / "expected_items.csv", exact.EXPECTED_ITEMS, (
        (sku, quantity_text(pool.quantity), amount_text(pool.value), pool.movements)
        for sku, pool in pools.items()))
    exact.write(checks / "expected_places.csv", exact.EXPECTED_PLACES, (
        (sku, location, quantity_text(quantity), movements)
        for (sku, location), (quantity, movements) in places.items()))
    json.dump({
        "items": len(pools),
        "items_sold_out": sum(not pool.quantity for pool in pools.values()),
        "places": len(places),
        "places_sold_out": sum(not quantity for quantity, _ in places.values()),
        "movements": sum(pool.movements for pool in pools.values()),
        "value": amount_text(sum(pool.value for pool in pools.values())),
        "seconds": round(time.monotonic() - started, 1),
    }, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
