"""Who sent a request: the API names its callers, and the page its visitors, by the same rule."""

import pytest
from starlette.requests import Request

from bento.middleware.caller import Caller, KeyUser, caller_of
from bento.page.visitors import visitor_of


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix:", "unix:"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_client_without_a_key_is_an_ipv4_address_or_an_ipv6_network(address, name):
    scope = {"type": "http", "client": address and (address, 1)}
    assert caller_of(scope) == Caller(name)
    assert visitor_of(Request(scope)) == name


def test_client_with_a_key_is_the_key_wherever_it_is():
    owner = Caller("0123456789ab", 4.0)
    assert caller_of({"type": "http", "client": ("192.0.2.7", 1), "user": KeyUser(owner)}) == owner
