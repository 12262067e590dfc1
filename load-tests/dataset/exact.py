"""Exact decimal arithmetic on integers, and the form of the import files.

Quantities are integers in millionths of the base unit, amounts integers in hundredths of the currency.
Written for the checks of this folder alone: it shares no code with the server that it checks.
"""

import csv
from pathlib import Path

QUANTITY_PLACES = 6
AMOUNT_PLACES = 2

# Folder below the import files for all that is not imported.
CHECKS = "checks"

PRODUCTS = ["sku", "name", "brand", "category", "base_unit", "quantity_scale", "barcode"]
LOCATIONS = ["code", "name"]
OPENING = ["source_id", "line_id", "sku", "location", "quantity", "total_cost", "currency", "occurred_at"]
SALES = ["basket_id", "line_id", "sku", "location", "quantity", "sales_value", "currency", "occurred_at"]
EXPECTED_ITEMS = ["sku", "on_hand", "value", "movements"]
EXPECTED_PLACES = ["sku", "location", "on_hand", "movements"]
REJECTS = ["source_row", "basket_id", "line_id", "sku", "location", "column", "value", "reason"]


def parse(text: str, places: int) -> int:
    """Reads a plain decimal as an integer scaled by 10^places.

    Raises ValueError for an exponent, a sign other than `-`, or a place too many.
    """
    whole, _, fraction = text.partition(".")
    digits = whole.removeprefix("-") + fraction
    if not (digits.isascii() and digits.isdigit()) or len(fraction) > places:
        raise ValueError(f"not a decimal with at most {places} places: {text!r}")
    scaled = int(digits) * 10 ** (places - len(fraction))
    return -scaled if whole.startswith("-") else scaled


def show(scaled: int, places: int, least: int = 0) -> str:
    """Writes an integer scaled by 10^places with as few places as it needs, but `least` of them."""
    sign = "-" if scaled < 0 else ""
    whole, fraction = divmod(abs(scaled), 10**places)
    digits = f"{fraction:0{places}d}" if places else ""
    digits = digits[:least] + digits[least:].rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def divide_half_away(numerator: int, denominator: int) -> int:
    """Divides and rounds to the nearest integer, ties away from zero."""
    if denominator <= 0:
        raise ValueError("denominator must be positive")
    rounded = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -rounded if numerator < 0 else rounded


def rows(path: Path, columns: list[str]):
    """Yields the rows of a CSV file whose header must be exactly `columns`."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader)
        if header != columns:
            raise ValueError(f"{path.name}: header {header}, expected {columns}")
        yield from reader


def write(path: Path, columns: list[str], lines) -> int:
    """Writes a CSV file with a header row; returns the number of rows after it."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for line in lines:
            writer.writerow(line)
            count += 1
    return count
