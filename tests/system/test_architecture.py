"""The layout of the code: which package may import which, no circles, and small modules that name their job."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

PRODUCT = ("precis", "finetune", "export", "bento")
PACKAGES = (*PRODUCT, "research", "benchmarks", "tools", "tests")
# What a package may import besides itself. Only tests and tools may import what runs at the end of the chain.
ALLOWED = {
    "precis": set(),
    "bento": {"precis"},
    "finetune": {"precis"},
    "export": {"finetune", "precis"},
    "research": {"precis", "finetune", "export", "benchmarks"},
    "benchmarks": {"precis", "finetune", "export"},
}
HEAVY = {"torch", "transformers", "optimum", "peft", "datasets"}
MAX_LINES = 300


def modules(*packages: str) -> dict[str, Path]:
    """The files of the packages by dotted name."""
    modules = {}
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            modules[name] = path
    return modules


def imports(tree: ast.AST, top_level: bool = False) -> set[str]:
    """Dotted names of imported modules; `from a import b` counts as `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package):
    forbidden = set(PACKAGES) - {package} - ALLOWED[package]
    if package in ("precis", "bento"):
        forbidden |= HEAVY
    wrong = {
        name: bad
        for name, path in modules(package).items()
        if (bad := {module.split(".")[0] for module in imports(parse(path))} & forbidden)
    }
    assert wrong == {}


def test_imports_have_no_circles():
    """Of modules at import time; an import inside a function is not one."""
    files = modules(*PRODUCT)
    graph = {name: imports(parse(path), top_level=True) & files.keys() - {name} for name, path in files.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("package", ["research", "benchmarks", *PRODUCT])
def test_modules_are_small_and_start_with_their_job(package):
    for name, path in modules(package).items():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= MAX_LINES, f"{name} has more than {MAX_LINES} lines"
        assert not text or ast.get_docstring(ast.parse(text)), f"{name} has no docstring"
