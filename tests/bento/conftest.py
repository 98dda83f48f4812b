"""A client of the service under test, and an engine with the bundle that it serves."""

import contextlib

import httpx
import pytest

from precis import Engine


@pytest.fixture(scope="module")
def client(service):
    with httpx.Client(base_url=service.url, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def served_engine(served_bundle):
    """The bundle that the service under test serves."""
    with contextlib.closing(Engine.load(served_bundle)) as loaded:
        yield loaded
