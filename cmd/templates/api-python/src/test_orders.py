import pytest

from .orders import parse


def test_reads_an_order():
    order = parse('{"item": "tea", "quantity": 2}')
    assert order["item"] == "tea" and order["quantity"] == 2


@pytest.mark.parametrize("body", [None, "", "{}", '{"item": "tea"}', '{"item": "tea", "quantity": 0}', "not JSON", "[]"])
def test_refuses(body):
    assert parse(body) is None
