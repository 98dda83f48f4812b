"""Who sent a request: the API key's short name, or the client's address where keys are not used."""

import ipaddress
from contextvars import ContextVar

from starlette.types import Scope

# The caller of the request that is being answered; set by AdmissionMiddleware.
current_caller: ContextVar[str | None] = ContextVar("current_caller", default=None)


def caller_of(scope: Scope) -> str:
    """The name under which the request is counted. An IPv6 network of 64 bits is one caller, as it is one customer."""
    user = scope.get("user")  # set by AuthenticationMiddleware
    if user is not None and user.is_authenticated:
        return str(user.display_name)
    address = str((scope.get("client") or ("unknown",))[0])
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:  # what a trusted proxy says need not be an address
        return address
