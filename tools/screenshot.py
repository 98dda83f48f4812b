"""Takes the README's picture of the page: python tools/screenshot.py URL FILE, with a service running at URL."""

import shutil
import sys

from playwright.sync_api import expect, sync_playwright


def main(url: str, file: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 820})
        page.goto(f"{url}/ui", wait_until="networkidle", timeout=60_000)
        page.get_by_text("Farm ponds and amphibians").click()
        expect(page.get_by_label("Text", exact=True)).not_to_have_value("")
        page.get_by_role("button", name="Summarize").click()
        expect(page.locator("#details")).to_contain_text("tokens from", timeout=30_000)
        page.screenshot(path=file)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
