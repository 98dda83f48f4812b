"""Who a visitor is, and how much all visitors, and one of them, may hold at once."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

from bento.middleware.caller import UNKNOWN, client_name

if TYPE_CHECKING:
    import gradio as gr
    from starlette.requests import Request


class BudgetExceeded(Exception):
    """More than all visitors together, or than this one, may hold at present."""


def visitor_of(request: Union["Request", "gr.Request"]) -> str:
    """The name of a request's visitor: the client's address, as the API names its callers.

    Behind a proxy all visitors are one, unless PRECIS_TRUSTED_PROXIES names the proxy.
    """
    return client_name(request.client.host) if request.client else UNKNOWN.name


class Budget:
    """An amount, such as bytes, of which one visitor may hold a part. For one event loop; not thread-safe."""

    def __init__(self, total: int, share: int) -> None:
        self.total, self.share = total, share
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """What all visitors hold together."""
        return self._held.total()

    def take(self, visitor: str, amount: int) -> None:
        """Holds `amount` for the visitor until `give_back`. Raises BudgetExceeded."""
        if self.held + amount > self.total or self._held[visitor] + amount > self.share:
            raise BudgetExceeded
        self._held[visitor] += amount

    def give_back(self, visitor: str, amount: int) -> None:
        """Ends what `take` began."""
        self._held[visitor] -= amount
        if self._held[visitor] <= 0:
            del self._held[visitor]

    @contextlib.contextmanager
    def holding(self, visitor: str, amount: int) -> Iterator[None]:
        """Holds `amount` within the block. Raises BudgetExceeded."""
        self.take(visitor, amount)
        try:
            yield
        finally:
            self.give_back(visitor, amount)
