"""Who a visitor is, and how much all visitors, and one of them, may hold at once."""

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    import gradio as gr
    from starlette.requests import Request

IPV6_PREFIX = 64  # bits; a household or a server has as many addresses as it likes below them


class BudgetExceeded(Exception):
    """More than all visitors together, or than this one, may hold at present."""


def visitor_of(request: Union["Request", "gr.Request"]) -> str:
    """The name of a request's visitor: the IPv4 address, or the network of the IPv6 address.

    Behind a proxy all visitors are one, unless PRECIS_TRUSTED_PROXIES names the proxy.
    """
    address = request.client.host if request.client else ""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address or "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))


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
