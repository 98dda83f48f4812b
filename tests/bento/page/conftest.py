"""Engines that the page's tests compare its results with."""

import contextlib

import pytest

from precis import Engine


@pytest.fixture(scope="module")
def engine(embedded):
    """The embedded model in fp32."""
    with contextlib.closing(Engine.load(embedded / "bundle")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def served_engine(served_bundle):
    """The bundle that the service under test serves."""
    with contextlib.closing(Engine.load(served_bundle)) as loaded:
        yield loaded
