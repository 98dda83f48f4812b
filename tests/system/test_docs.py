"""The documentation against the repository: links, anchors, cited files, modules and make targets, and its limits."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

LOG = ROOT / "docs/log.md"
HISTORY = {LOG, ROOT / "CHANGELOG.md"}  # these hold names that no longer exist
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *(ROOT / name / "README.md" for name in ("models/base", "data/everyday", "data/gazette", "research")),
]
VERDICTS = ("adopted", "rejected", "negative", "measured", "fixed", "open")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`|^```\w*[^\n]*\n(.*?)^```", re.S | re.M)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_of(page: Path) -> str:
    """All code of a page, inline and fenced, a piece a line."""
    return "\n".join(inline or fenced for inline, fenced in CODE.findall(page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page: explicit ones, and those that GitHub makes of its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository that match, or all files below it where it is no git checkout."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]
    hidden = {".venv", ".venv-serve", ".venv-next", "artifacts"}
    paths = [path for pattern in patterns for path in ROOT.rglob(pattern)]
    return [path for path in paths if path.is_file() and not hidden & set(path.relative_to(ROOT).parts)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_anchors_that_exist(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=name)
def test_cited_files_modules_and_make_targets_exist(page):
    code = code_of(page)
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {
        "artifacts",
        ".venv",
        ".venv-serve",
        ".venv-next",
    }
    for path in re.findall(r"(?<![\w./-])([\w.-]+/(?:[\w.-]+/)*(?:[\w-]+\.[a-z]+)?)(?![\w*<{])", code):
        if path.split("/")[0] in folders:
            assert (ROOT / path).exists(), path
    for module in re.findall(r"python3? -m ((?:precis|finetune|export|bento|research|benchmarks)[\w.]*)", code):
        path = ROOT / module.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= targets


VALUE = "\0"  # in the place of a value that the code puts into a message


def messages_of_the_code() -> list[str]:
    """The texts in the code of what users run, long enough to be messages."""
    texts = []
    for package in ("precis", "finetune", "export", "bento"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else VALUE for part in node.values]
                    texts.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return [text for text in texts if len(text.replace(VALUE, "")) >= 15]


@pytest.mark.parametrize("page", ["deploy.md", "troubleshooting.md"])
def test_messages_that_pages_quote_are_those_of_the_code(page):
    """Complete, with values in the place of the code's, or a part of one; `...` stands for a value."""
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    command = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\.venv|python|pip|make|docker|uv|iconv|ss|lsof|bentoml|precis|gh)\b.* ")
    quoted = [span for span in re.findall(r"`([^`]+)`", text) if span.count(" ") >= 2 and not command.match(span)]
    assert len(quoted) > 5
    texts = messages_of_the_code()
    complete = [".+".join(map(re.escape, text.split(VALUE))) for text in texts if text != f"Not started: {VALUE}"]
    for span in quoted:
        message = span.removeprefix("Not started: ")
        part = ".*".join(map(re.escape, message.split("...")))
        is_complete = any(re.fullmatch(pattern, text) for pattern in complete for text in (span, message))
        assert is_complete or any(re.search(part, text) for text in texts), span


def test_pages_that_the_code_cites_exist_with_their_anchors():
    cited = 0
    for path in tracked("*.py", "*.yaml", "*.toml", "Makefile"):
        for page, anchor in re.findall(r"\b(docs/[\w-]+\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8")):
            cited += 1
            assert (ROOT / page).is_file(), f"{path}: {page}"
            assert not anchor or anchor in anchors(ROOT / page), f"{path}: {page}#{anchor}"
    assert cited > 5


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 140


def test_log_has_one_verdict_an_entry_and_readable_lines():
    lines = LOG.read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line.startswith("### ")]
    assert len(entries) > 100
    for entry in entries:
        assert re.search(rf" \(({'|'.join(VERDICTS)})\b[^()]*\)$", entry), entry
    assert max(map(len, lines)) <= 200


def test_log_is_newest_first():
    days = re.findall(r"^## (\d{4}-\d{2}-\d{2})", LOG.read_text(encoding="utf-8"), re.M)
    assert len(days) > 10
    assert days == sorted(days, reverse=True)


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name
