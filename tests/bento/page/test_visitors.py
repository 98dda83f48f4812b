"""Who a visitor is, and shares of a budget."""

from types import SimpleNamespace

import pytest

from bento.page.visitors import Budget, BudgetExceeded, visitor_of


@pytest.mark.parametrize(
    ("address", "visitor"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_visitor_is_an_ipv4_address_or_an_ipv6_network(address, visitor):
    client = None if address is None else SimpleNamespace(host=address)
    assert visitor_of(SimpleNamespace(client=client)) == visitor


def test_budget_bounds_all_and_each():
    budget = Budget(total=10, share=6)
    budget.take("a", 6)
    with pytest.raises(BudgetExceeded):
        budget.take("a", 1)
    with pytest.raises(BudgetExceeded), budget.holding("b", 5):
        pass
    with budget.holding("b", 4):
        assert budget.held == 10
    budget.give_back("a", 2)
    with budget.holding("b", 6):
        assert budget.held == 10
    assert budget.held == 4
