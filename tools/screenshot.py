"""Takes the README's and the docs' pictures of the page: python -m tools.screenshot URL FOLDER, with a service at URL.

Writes page.png (desktop), page-dark.png, page-phone.png, page-documents.png and page-model.png, in the machine's fonts.
"""

import argparse
import json
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.page import FLAGS

ROOT = Path(__file__).parent.parent
EXAMPLE = "A cup semi-final"
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.screenshot", description=__doc__.splitlines()[0])
    parser.add_argument("url", help="address of the service")
    parser.add_argument("folder", type=Path, help="for the pictures")
    options = parser.parse_args()
    url, out = options.url, options.folder
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        summarized_page(browser, url, DESKTOP).screenshot(path=out / "page.png")
        summarized_page(browser, url, {**DESKTOP, "color_scheme": "dark"}).screenshot(path=out / "page-dark.png")
        phone = summarized_page(browser, url, PHONE)
        phone.locator("#summary-panel").scroll_into_view_if_needed()
        phone.screenshot(path=out / "page-phone.png")
        batch_page(browser, url).screenshot(path=out / "page-documents.png", full_page=True)
        about_page(browser, url).screenshot(path=out / "page-model.png", full_page=True)
        browser.close()


def open_page(browser: Browser, url: str, context: dict) -> Page:
    page = browser.new_context(**context).new_page()
    page.goto(f"{url}/ui/", wait_until="domcontentloaded", timeout=60_000)
    page.locator("#go").wait_for(timeout=60_000)
    return page


def summarized_page(browser: Browser, url: str, context: dict) -> Page:
    page = open_page(browser, url, context)
    page.get_by_role("button", name=EXAMPLE).click()
    expect(page.locator("#status")).to_contain_text("words from", timeout=30_000)
    page.wait_for_timeout(1000)  # on a phone the page scrolls to the summary
    return page


def batch_page(browser: Browser, url: str) -> Page:
    page = open_page(browser, url, DESKTOP)
    page.get_by_role("tab", name="Several texts").click()
    examples = json.loads((ROOT / "bento/page/static/examples.json").read_text(encoding="utf-8"))
    page.locator("#batch-actions input[type=file]").set_input_files(
        [
            {"name": f"{example['title']}.txt", "mimeType": "text/plain", "buffer": example["document"].encode()}
            for example in examples
        ]
    )
    expect(page.locator("#batch-status .done")).to_be_visible(timeout=60_000)
    return page


def about_page(browser: Browser, url: str) -> Page:
    page = open_page(browser, url, DESKTOP)
    page.get_by_role("tab", name="About").click()
    page.wait_for_timeout(500)
    return page


if __name__ == "__main__":
    main()
