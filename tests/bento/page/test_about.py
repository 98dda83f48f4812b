"""The tab about the model, from the manifest alone and in headless Chromium."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from bento.page.about import about_html, model_description
from precis.bundle.manifest import Manifest
from precis.bundle.verify import open_bundle


def test_manifest_without_reports_is_shown_and_escaped():
    manifest = Manifest(format=2, prefix="", max_input_tokens=256, files={}, name="<b>${name}</b>", precision="fp32")
    bundle = SimpleNamespace(manifest=manifest, folder=Path("nowhere"), generation_config={})
    content = about_html(bundle)
    assert "The bundle holds no ROUGE figures." in content
    assert "The bundle holds no comparison with PyTorch." in content
    assert "<dd>&lt;b&gt;&#36;&#123;name}&lt;/b&gt;</dd>" in content
    assert "<b>" not in content
    assert "<img" not in content
    assert model_description(bundle).startswith("A model (T5, 0 MB): it copies more than it writes")


def test_figures_are_those_of_parity_md(embedded):
    """The export writes parity.md from the same measurements; a reader may have both open."""
    bundle = open_bundle(embedded / "bundle-int8")
    content = about_html(bundle)
    rows = re.findall(
        r"^\| ([^|]* = [^|]*) \| passed \| (\d+ of \d+) \|", (bundle.folder / "parity.md").read_text(), re.M
    )
    assert len(rows) == 3
    for link, identical in rows:
        assert re.search(rf"{re.escape(link)}</th>\s*<td>{identical}</td>", content), link


def test_header_says_what_the_model_is(embedded):
    bundle = open_bundle(embedded / "bundle-int8")
    description = model_description(bundle)
    assert f"fine-tuned on {bundle.manifest.data.train_pairs:,} texts" in description
    assert "chooses sentences of your text" in description


@pytest.mark.slow
def test_about_shows_the_manifests_figures(visit, served_bundle):
    manifest = json.loads((served_bundle / "manifest.json").read_text())
    page = visit()
    page.get_by_role("link", name="How good is it?").click()
    about = page.locator("#about")
    for figure in (manifest["rouge"]["finetuned"]["rougeL"], manifest["rouge"]["base"]["rouge1"]):
        expect(about).to_contain_text(f"{figure:.1f}")
    expect(about).to_contain_text(f"{manifest['parity']['identical_summaries']} summaries are the same")
    if "parity.png" in manifest["files"]:
        assert about.locator("img").evaluate("image => image.naturalWidth") > 100
    shown = json.loads(about.locator("pre").text_content())
    assert shown == manifest
