"""Shares of a budget. Who a visitor is: tests/bento/middleware/test_caller.py."""

import pytest

from bento.page.visitors import Budget, BudgetExceeded


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
