"""The comparison with the base model before fine-tuning."""

import asyncio
import contextlib
from types import SimpleNamespace

from markupsafe import Markup

from bento.page.compare import BaseComparison, find_base_bundle
from bento.page.html import escape
from bento.page.single import LastResult
from precis import Engine, GenerationParams
from tests.conftest import gazette

DOCUMENT = gazette("validation")[1]["document"]


def test_comparison_shows_the_base_engines_summary_beside_the_last_one(engine):
    """On the base's own bundle where it exists, as after make model; else on the one that is served."""
    folder = find_base_bundle(engine, None) or engine.bundle.folder
    params = GenerationParams(mode="write", num_beams=1, max_new_tokens=90, min_new_tokens=80)
    last_result = LastResult(DOCUMENT, params, Markup("<p>Made before.</p>"))

    async def views(last_result: LastResult | None) -> list[str]:
        request = SimpleNamespace(session_hash="a visitor", client=None)
        return [view async for view in BaseComparison(folder).run(request, last_result)]

    shown = asyncio.run(views(last_result))
    with contextlib.closing(Engine.load(folder, threads=1)) as base:
        expected = base.generate([DOCUMENT], params)[0].text
    before, after = shown[-1].split("<section>")[1:]
    assert f'data-plain="{escape(expected)}"' in before
    assert "<p>Made before.</p>" in after
    assert len(shown) >= 3, "it grows"
    [refusal] = asyncio.run(views(None))
    assert "Summarize the text anew to compare" in refusal


def test_folder_without_a_bundle_is_not_compared_with(engine, tmp_path):
    assert find_base_bundle(engine, tmp_path) is None
    (tmp_path / "manifest.json").write_text("{}")
    assert find_base_bundle(engine, tmp_path) == tmp_path
