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


IPV6_PREFIX = 64  # bits
UNKNOWN = Caller("unknown")
# The caller of the request that is being answered; set by AdmissionMiddleware.
current_caller: ContextVar[Caller] = ContextVar("current_caller", default=UNKNOWN)


def caller_of(scope: Scope) -> Caller:
    """Who sent the request: the owner of its API key, else the client's address."""
    user = scope.get("user")  # set by AuthenticationMiddleware
    if isinstance(user, KeyUser):
        return user.caller
    return Caller(client_name(scope["client"][0])) if scope.get("client") else UNKNOWN


def client_name(address: str) -> str:
    """The IPv4 address, or the IPv6 network of 64 bits: a household has as many addresses as it likes below that."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # what a trusted proxy says need not be an address
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:  # an IPv4 client of a socket for both
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((int(ip), IPV6_PREFIX), strict=False))
