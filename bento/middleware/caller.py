"""Who sent a request: the API key's short name, or the client's address where keys are not used."""

import ipaddress
from contextvars import ContextVar
from typing import NamedTuple

from starlette.authentication import SimpleUser
from starlette.types import Scope


class Caller(NamedTuple):
    """The name under which a caller's requests are counted, and its share of the engine where others have 1."""

    name: str
    weight: float = 1.0


class KeyUser(SimpleUser):
    """The owner of an API key, as Starlette's AuthenticationMiddleware keeps it."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.name)
        self.caller = caller


UNKNOWN = Caller("unknown")
# The caller of the request that is being answered; set by AdmissionMiddleware.
current_caller: ContextVar[Caller] = ContextVar("current_caller", default=UNKNOWN)


def caller_of(scope: Scope) -> Caller:
    """Who sent the request. An IPv6 network of 64 bits is one caller, as it is one customer."""
    user = scope.get("user")  # set by AuthenticationMiddleware
    if isinstance(user, KeyUser):
        return user.caller
    if not scope.get("client"):
        return UNKNOWN
    address = str(scope["client"][0])
    if ":" not in address:
        return Caller(address)
    try:
        return Caller(str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False)))
    except ValueError:  # what a trusted proxy says need not be an address
        return Caller(address)
