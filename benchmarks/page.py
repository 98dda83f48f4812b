"""How soon the page appears and shows a summary: python -m benchmarks.page [URL], with a service at URL.

Nothing else should run. In a headless Chromium with an empty cache: first contentful paint, the moment the button can
be pressed, and the time from pressing it to the first and the last words of the summary on the screen. Prints
the median of several visits and the worst as JSON.
"""

import argparse
import json
import shutil
import statistics

from playwright.sync_api import Browser, expect, sync_playwright

from benchmarks.server import wait_for_answer

VISITS = 7
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
TEXT = (
    "The council of Lund met on Tuesday and agreed to mend the old bridge before the winter, at a cost of 2 million "
    "crowns. Heavy lorries have been kept off it since March, when divers found cracks in two of its five piers. "
    "Drivers now go round by the motorway, which takes them a quarter of an hour longer."
)
# By the page's own clock: the moment of the click, and those at which words appear in the summary.
WATCH = """() => {
  window.times = {};
  document.querySelector('#go').addEventListener('click', () => { times.pressed = performance.now(); }, true);
  new MutationObserver(() => {
    const gist = document.querySelector('#summary .gist');
    if (!gist || !times.pressed) return;
    if (!times.first && gist.textContent.trim()) times.first = performance.now();
    if (gist.dataset.plain && !times.last) times.last = performance.now();
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


def visit(browser: Browser, url: str) -> dict[str, float]:
    """Milliseconds of one visit in a new context."""
    page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
    page.goto(f"{url}/ui/", wait_until="domcontentloaded")
    page.locator("#go").wait_for()
    usable = page.evaluate("performance.now()")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.evaluate(WATCH)
    page.locator("#text textarea").fill(TEXT)
    page.locator("#go").click()
    expect(page.locator("#summary .gist[data-plain]")).to_be_visible(timeout=30_000)
    times = page.evaluate("times")
    page.context.close()
    return {
        "first_paint_ms": paint,
        "usable_ms": usable,
        "first_delta_ms": times["first"] - times["pressed"],
        "complete_summary_ms": times["last"] - times["pressed"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="http://localhost:3000", help="address of the service")
    url = parser.parse_args().url
    if not wait_for_answer(f"{url}/readyz", timeout=5):
        raise SystemExit(f"No service is ready at {url}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        visit(browser, url)  # the first visit warms up the server
        visits = [visit(browser, url) for _ in range(VISITS)]
        browser.close()
    figures = {name: [each[name] for each in visits] for name in visits[0]}
    print(json.dumps({name: {"median": statistics.median(t), "worst": max(t)} for name, t in figures.items()}))


if __name__ == "__main__":
    main()
