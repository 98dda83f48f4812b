"""Engines that the page's tests compare its results with."""

import contextlib

import pytest

from bento.page import app as page_app
from precis import Engine
from tests.support.page import open_page


@pytest.fixture(scope="module")
def engine(embedded):
    """The embedded model in fp32."""
    with contextlib.closing(Engine.load(embedded / "bundle")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def mounted_page(engine):
    """The page in this process, without its own sweeps; building it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_app, "SWEEP_SECONDS", 3600)
        with open_page(engine) as opened:
            yield opened
