"""Makes a run's bundles: graphs, manifest, parity gate; a bundle appears only when every link of its chain holds."""

import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

from transformers.utils import logging

from engine import Engine
from export.checks import Run, check_gain, load_adapted, load_merged, open_run
from export.manifest import describe, seal
from export.onnx_model import Graphs, trace, write_graphs
from export.parity import Comparison, Link
from export.quantize import quantize_graphs, weighted
from export.report import explain, summarize, write_report
from export.sensitivity import by_damage
from export.systems import Onnx, Torch
from finetune.data import Pairs, load_pairs
from finetune.errors import UserError
from finetune.files import replaced_folder, write_json
from finetune.progress import console
from finetune.recipe import Recipe
from finetune.scoring import encode, generation_config
from finetune.training import load_base

FAILED = "parity-failed"
CALIBRATION = 64  # training documents that set the scales of 8-bit sources
SENSITIVITY = 12  # documents on which layers are rounded one by one
MORE_KEPT = (0, 2, 4, 8, 16, 32, 64)  # layers that stay in fp32 where int8 fails its gate, worst first


def make_bundles(folder: Path, precisions: list[str], base: bool = False, accept_worse: bool = False) -> list[Path]:
    """Exports the run in `folder` in each of `precisions` (none: the recipe's) and, with `base`, its base in int8.

    Returns the bundles' folders. Raises UserError, and leaves the bundle that was there, at the first failed gate.
    """
    logging.set_verbosity_error()
    run = open_run(folder)
    check_gain(run, accept_worse)
    precisions = sorted(set(precisions or run.recipe.export.precision), key=["fp32", "int8", "fp16"].index)
    shutil.rmtree(folder / FAILED, ignore_errors=True)
    pairs = load_pairs(run.recipe.data, run.recipe.training.seed)
    model, tokenizer = load_merged(run)
    merged = Torch("merged", model, tokenizer, run.recipe)
    adapted = Torch("base + adapter", load_adapted(run, tokenizer), tokenizer, run.recipe)
    made = Chain(run, folder / "merged", [adapted, merged], pairs).make(precisions)
    del adapted
    if base:
        with _scratch(folder, "base") as scratch:
            network, tokenizer = load_base(run.recipe.model)
            network.generation_config = generation_config(run.recipe, network)
            network.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            source = Torch("base", network, tokenizer, run.recipe)
            made += Chain(run, scratch, [source], pairs, "base").make(["int8"])
    return made


class Chain:
    """The way from PyTorch to what is served: every system is loaded and asked once."""

    def __init__(self, run: Run, source: Path, pytorch: list[Torch], pairs: Pairs, kind: str = "") -> None:
        """`source` is the model folder that is exported, the last of `pytorch` that model in PyTorch."""
        self.run, self.recipe, self.source, self.pytorch, self.kind = run, run.recipe, source, pytorch, kind
        tokenizer = pytorch[-1].tokenizer
        documents, references = _documents(pairs, self.recipe)
        self.comparison = Comparison(self.recipe, encode(tokenizer, documents, self.recipe), documents, references)
        calibration = list(pairs.train["document"][:CALIBRATION])
        self.calibration = encode(tokenizer, calibration, self.recipe)

    def make(self, precisions: list[str]) -> list[Path]:
        """Writes and proves the bundles of `precisions`; fp32 is measured in any case, since the others rest on it."""
        made = []
        with _scratch(self.run.folder, "fp32") as scratch:
            place = self._place("fp32") if "fp32" in precisions else scratch / "bundle"
            links = self._fp32(place)
            made += [place] if "fp32" in precisions else []
            with _engine("ONNX fp32", place) as exact:
                for precision in precisions:
                    if precision == "int8":
                        made.append(self._int8(exact, links))
        return made

    def _place(self, precision: str) -> Path:
        parts = ["bundle", self.kind, "" if precision == "fp32" else precision]
        return self.run.folder / "-".join(part for part in parts if part)

    def _fp32(self, place: Path) -> list[Link]:
        with replaced_folder(place) as folder:
            console.print("exporting to ONNX, fp32")
            write_graphs(trace(self.source), self.source, folder)
            manifest = self._describe("fp32", [])
            seal(folder, manifest)
            with _engine("ONNX fp32", folder) as exact:
                systems = [*self.pytorch, exact]
                pairs = list(pairwise(systems))
                links = self.comparison.links(pairs, self.pytorch[-1], [True] * len(pairs))
            self._settle(folder, manifest, links, links[-1])
        return links

    def _int8(self, exact: Onnx, before: list[Link]) -> Path:
        """The 8-bit bundle. Where its gate fails more layers stay in fp32, worst first, until it holds."""
        console.print("exporting to ONNX, int8")
        graphs = trace(self.source, self.calibration)
        kept, ranked = matching(self.recipe.export.kept_in_fp32, graphs), []
        with replaced_folder(self._place("int8")) as folder:
            for more in MORE_KEPT:
                if more and not ranked:
                    console.print("int8 fails its gate: looking for the layers that suffer")
                    ranked = self._ranked(graphs)
                chosen = sorted({*kept, *ranked[:more]})
                write_graphs(quantize_graphs(graphs, chosen), self.source, folder)
                manifest = self._describe("int8", chosen)
                seal(folder, manifest)
                with _engine("ONNX int8", folder) as served:
                    self.comparison.forget(served)
                    pairs = [(exact, served), (self.pytorch[-1], served)]
                    last, overall = self.comparison.links(pairs, self.pytorch[-1], [False, False])
                if last.passed:
                    break
            self._settle(folder, manifest, [*before, last], overall)
        return self._place("int8")

    def _ranked(self, graphs: Graphs) -> list[str]:
        few = slice(SENSITIVITY)
        tokens = self.comparison.said(self.pytorch[-1], self.comparison.few).tokens
        prove = partial(seal, manifest=self._describe("int8", []))
        damage = by_damage(graphs, self.source, prove, self.comparison.inputs[few], tokens[few])
        return [name for name, _ in damage]

    def _describe(self, precision: str, kept: Collection[str]) -> dict:
        return describe(self.run, precision, kept_in_fp32=list(kept))

    def _settle(self, folder: Path, manifest: dict, links: list[Link], overall: Link) -> None:
        """Report, gate, and the manifest with both. Raises UserError where a link is broken."""
        title = f"{self.run.folder.name}{f', {self.kind}' if self.kind else ''}, {manifest['precision']}"
        report = write_report(links, overall, title, folder)
        write_json(folder / "parity.json", report)
        if not report["passed"]:
            with replaced_folder(self.run.folder / FAILED) as evidence:
                for name in ("parity.json", "parity.md", "parity.png"):
                    shutil.copy(folder / name, evidence / name)
            raise UserError(explain(links, self.run.folder / FAILED / "parity.md"))
        seal(folder, {**manifest, "parity": report})
        console.print(summarize(links), highlight=False)


@contextmanager
def _scratch(run: Path, kind: str) -> Iterator[Path]:
    """A folder that is gone afterwards; one that a killed export left is emptied first."""
    folder = run / f".{kind}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _engine(name: str, folder: Path) -> Iterator[Onnx]:
    engine = Engine.load(folder)
    try:
        yield Onnx(name, engine)
    finally:
        engine.close()


def matching(patterns: list[str], graphs: Graphs) -> set[str]:
    """Names of weighted nodes that one of `patterns` is found in. Raises UserError for one that is found in none."""
    names = [name for graph in graphs.values() for name in weighted(graph)]
    found = set()
    for pattern in patterns:
        try:
            matched = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise UserError(
                f"Recipe key export.kept_in_fp32: {pattern!r} is no regular expression: {error}."
            ) from error
        if not matched:
            raise UserError(f"Recipe key export.kept_in_fp32: {pattern!r} matches no layer.")
        found |= matched
    return found


def _documents(pairs: Pairs, recipe: Recipe) -> tuple[list[str], list[str]]:
    """Validation documents and summaries, filled up with training pairs where they are few."""
    documents, references = [], []
    for part in (pairs.validation, pairs.train):
        missing = max(0, max(recipe.export.documents, recipe.export.engine_documents) - len(documents))
        taken = part.select(range(min(missing, len(part))))
        documents += list(taken["document"])
        references += list(taken["summary"])
    return documents, references
