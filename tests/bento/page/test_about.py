"""The tab about the model, from the manifest alone and in headless Chromium."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from bento.page.about import about_html, model_label
from precis.bundle.manifest import Manifest


def test_manifest_without_reports_is_shown_and_escaped():
    manifest = Manifest(format=2, prefix="", max_input_tokens=256, files={}, name="<b>${name}</b>", precision="fp32")
    content = about_html(SimpleNamespace(manifest=manifest, folder=Path("nowhere")))
    assert "The bundle holds no ROUGE figures." in content
    assert "The bundle holds no comparison with PyTorch." in content
    assert "<dd>&lt;b&gt;&#36;&#123;name}&lt;/b&gt;</dd>" in content
    assert "<b>" not in content
    assert "<img" not in content
    assert model_label(manifest) == "<b>${name}</b> · fp32"


@pytest.mark.slow
def test_about_shows_the_manifests_figures(visit, served_bundle):
    manifest = json.loads((served_bundle / "manifest.json").read_text())
    page = visit()
    page.get_by_role("tab", name="About this model").click()
    about = page.locator("#about")
    for figure in (manifest["rouge"]["finetuned"]["rougeL"], manifest["rouge"]["base"]["rouge1"]):
        expect(about).to_contain_text(f"{figure:.1f}")
    expect(about).to_contain_text(f"{manifest['parity']['identical_summaries']} summaries are the same")
    if "parity.png" in manifest["files"]:
        assert about.locator("img").evaluate("image => image.naturalWidth") > 100
    shown = json.loads(about.locator("pre").text_content())
    assert shown == manifest
