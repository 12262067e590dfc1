"""Tests of the checks themselves: a comparison that cannot fail proves nothing.

Run: python3.11 -m unittest discover load-tests/dataset
"""

import contextlib
import io
import json
import random
import sys
import tempfile
import threading
import unittest
from decimal import ROUND_HALF_UP, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))

import compare  # noqa: E402
import exact  # noqa: E402
import expected  # noqa: E402


class Exact(unittest.TestCase):
    """Decimals as integers."""

    def test_parse_and_show_are_inverse(self):
        for text, places, scaled in [("0", 6, 0), ("12.5", 6, 12_500_000), ("-0.000001", 6, -1), ("19.99", 2, 1999)]:
            self.assertEqual(exact.parse(text, places), scaled)
            self.assertEqual(exact.show(scaled, places), text)
        self.assertEqual(exact.show(1990, 2, 2), "19.90")

    def test_parse_refuses_what_is_not_a_plain_decimal(self):
        for text in ["", "1e3", "+1", " 1", "1.2345678", "1.2.3", "NaN", "١"]:
            with self.assertRaises(ValueError, msg=text):
                exact.parse(text, 6)

    def test_ties_round_away_from_zero(self):
        for numerator, denominator, quotient in [(5, 2, 3), (-5, 2, -3), (4, 3, 1), (-4, 3, -1), (0, 7, 0)]:
            self.assertEqual(exact.divide_half_away(numerator, denominator), quotient)


class MovingAverage(unittest.TestCase):
    """The costing rule."""

    def test_three_units_for_a_hundred(self):
        pool = expected.Pool()
        pool.receive(3_000_000, 10_000)
        self.assertEqual([pool.issue(1_000_000) for _ in range(3)], [3333, 3334, 3333])
        self.assertEqual((pool.quantity, pool.value), (0, 0))

    def test_agrees_with_decimal_arithmetic(self):
        generator = random.Random(7)
        for _ in range(200):
            pool, quantity, value = expected.Pool(), Decimal(0), Decimal(0)
            for _ in range(30):
                amount = Decimal(generator.randint(1, 5_000_000)).scaleb(-3)
                if generator.random() < 0.4 or amount > quantity:
                    cost = Decimal(generator.randint(0, 10**7)).scaleb(-2)
                    pool.receive(int(amount.scaleb(6)), int(cost.scaleb(2)))
                    quantity, value = quantity + amount, value + cost
                else:
                    cost = (value * amount / quantity).quantize(Decimal("0.01"), ROUND_HALF_UP)
                    self.assertEqual(pool.issue(int(amount.scaleb(6))), int(cost.scaleb(2)))
                    quantity, value = quantity - amount, value - cost
            self.assertEqual((pool.quantity, pool.value), (int(quantity.scaleb(6)), int(value.scaleb(2))))

    def test_nothing_goes_below_zero(self):
        pool = expected.Pool()
        pool.receive(1, 1)
        with self.assertRaises(ValueError):
            pool.issue(2)


class Comparison(unittest.TestCase):
    """compare.py against a server that speaks the API."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        at = "2017-01-01T00:00:00Z"
        exact.write(self.folder / "products.csv", exact.PRODUCTS, [
            (sku, "name", "", "", "C62", 0, "") for sku in (10, 11, 12)])
        exact.write(self.folder / "opening.csv", exact.OPENING, [
            ("O", 1, 10, "A", "3", "100.00", "USD", at), ("O", 2, 10, "B", "2.5", "10.01", "USD", at),
            ("O", 3, 11, "A", "1", "0.70", "USD", at)])
        exact.write(self.folder / "sales.csv", exact.SALES, [
            (1, 1, 10, "A", "1", "50.00", "USD", at), (1, 2, 11, "A", "1", "1.00", "USD", at)])
        with mock.patch.object(sys, "argv", ["expected.py", str(self.folder)]), self.quiet():
            expected.main()
        self.answers = {
            "/v1/variants": {"variants": [
                {"id": "var_a", "sku": "10"}, {"id": "var_b", "sku": "11"}, {"id": "var_c", "sku": "12"},
                {"id": "var_demo", "sku": "DEMO"}]},
            "/v1/locations": {"locations": [{"id": "loc_a", "code": "A"}, {"id": "loc_b", "code": "B"}]},
            "/v1/balances": {"nextPageToken": "2", "balances": [
                {"variantId": "var_a", "onHand": "4.5", "value": {"currency": "USD", "amount": "90.01"},
                 "sequence": "3", "locations": [
                     {"locationId": "loc_a", "onHand": "2", "movements": "2"},
                     {"locationId": "loc_b", "onHand": "2.5", "movements": "1"}]}]},
            "/v1/balances 2": {"balances": [
                {"variantId": "var_b", "onHand": "0", "value": {"currency": "USD", "amount": "0.00"},
                 "sequence": "2", "locations": [{"locationId": "loc_a", "movements": "2"}]},
                {"variantId": "var_demo", "onHand": "7", "sequence": "1"}]},
        }

    @staticmethod
    def quiet():
        """Keeps what is printed."""
        stack = contextlib.ExitStack()
        out = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(out))
        return stack

    def compare(self) -> int:
        """Exit status of compare.py against a server that gives `self.answers`."""
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path, _, query = self.path.partition("?")
                token = query.partition("pageToken=")[2]
                known = self.headers["authorization"] == "Bearer k"
                body = json.dumps(answers[f"{path} {token}".strip()]).encode() if known else b"{}"
                self.send_response(200 if known else 401)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with mock.patch.object(sys, "argv", ["compare.py", str(self.folder), "--url", url, "--key", self.key]):
                with self.quiet():
                    return compare.main()
        finally:
            server.shutdown()
            server.server_close()

    key = "k"

    def test_equal_balances_are_equal(self):
        self.assertEqual(self.compare(), 0)

    def test_one_cent_is_a_difference(self):
        self.answers["/v1/balances"]["balances"][0]["value"]["amount"] = "90.02"
        self.assertEqual(self.compare(), 1)

    def test_one_millionth_at_a_place_is_a_difference(self):
        self.answers["/v1/balances"]["balances"][0]["locations"][1]["onHand"] = "2.500001"
        self.assertEqual(self.compare(), 1)

    def test_a_movement_posted_twice_and_taken_back_is_a_difference(self):
        self.answers["/v1/balances 2"]["balances"][0]["sequence"] = "4"
        self.assertEqual(self.compare(), 1)

    def test_a_missing_balance_is_a_difference(self):
        self.answers["/v1/balances 2"]["balances"].pop(0)
        self.assertEqual(self.compare(), 1)

    def test_an_unexpected_balance_is_a_difference(self):
        self.answers["/v1/balances 2"]["balances"].append({"variantId": "var_c", "onHand": "1", "sequence": "1"})
        self.assertEqual(self.compare(), 1)

    def test_a_missing_product_is_a_difference(self):
        self.answers["/v1/variants"]["variants"].pop(2)
        self.assertEqual(self.compare(), 1)

    def test_a_refused_key_is_no_comparison(self):
        self.key = "wrong"
        self.assertEqual(self.compare(), 2)


if __name__ == "__main__":
    unittest.main()
