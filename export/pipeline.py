"""Makes a run's bundles: graphs, manifest, parity gate; a bundle appears only when every link of its chain holds."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from export.checks import Run, check_gain, load_adapted, load_merged, open_run
from export.graphs.trace import Graphs, trace, write_graphs
from export.manifest import describe, running, seal
from export.parity.comparison import Comparison, Link
from export.parity.report import explain, summarize, write_report
from export.parity.systems import Onnx, System, Target, Torch
from export.precision.activations import observe
from export.precision.fp16 import LIMITS, halve, with_their_caches
from export.precision.int8 import quantize_graphs, roundable
from export.precision.sensitivity import by_damage
from finetune.data.loading import Pairs, load_pairs
from finetune.data.tokenizing import encode
from finetune.errors import UserError
from finetune.evaluation.scoring import generation_config
from finetune.files import replaced_folder, write_json
from finetune.recipe import Recipe
from finetune.reports.progress import console
from finetune.training.model import load_base
from precis.bundle.names import DECODER, ENCODER

FAILED = "parity-failed"
PRECISIONS = ["fp32", "int8", "fp16"]  # in the order in which one rests on the other
CALIBRATION = 64  # training documents that set the scales of 8-bit sources
SENSITIVITY = 12  # documents on which layers are rounded one by one
MORE_KEPT = (2, 4, 8, 16, 32, 64)  # layers that stay in fp32 where int8 fails its gate, worst first


@dataclass(frozen=True)
class Options:
    """What the command line says: `precisions` and `device` where it overrides the recipe."""

    precisions: list[str] = field(default_factory=list)
    device: str | None = None
    base: bool = False  # also the base before fine-tuning, in int8
    allow_cpu_fallback: bool = False
    accept_worse: bool = False
    optimum: bool = False  # instead of bundles a folder in Optimum's layout


def make_bundles(folder: Path, options: Options) -> list[Path]:
    """Exports the run in `folder` and returns the bundles' folders.

    Raises UserError or EngineError, and leaves the bundle that was there, at the first that cannot be made or proved.
    """
    logging.set_verbosity_error()
    if options.optimum and (options.base or options.device or set(options.precisions) - {"fp32"}):
        raise UserError("--layout optimum is for fp32 on the CPU: leave out --precision, --device and --base.")
    run = open_run(folder)
    if options.base and run.imported_from:
        raise UserError(f"{folder} was imported, and has no base before fine-tuning: leave out --base.")
    check_gain(run, options.accept_worse)
    precisions = sorted(set(options.precisions or run.recipe.export.precision), key=PRECISIONS.index)
    target = Target(options.device or run.recipe.export.device, options.allow_cpu_fallback)
    shutil.rmtree(folder / FAILED, ignore_errors=True)
    pairs = load_pairs(run.recipe.data, run.recipe.training.seed)
    model, tokenizer = load_merged(run)
    merged = Torch("merged", model, tokenizer, run.recipe)
    pytorch = [merged]
    if run.recipe.lora:
        pytorch.insert(0, Torch("base + adapter", load_adapted(run, tokenizer), tokenizer, run.recipe))
    chain = Chain(run, folder / "merged", pytorch, pairs, target, origin=_origin(run, tokenizer))
    if options.optimum:
        return [chain.optimum()]
    made = chain.make(precisions)
    del pytorch, merged, model, chain  # the largest things here
    if options.base:
        with _scratch(folder, "base") as scratch:
            network, tokenizer = load_base(run.recipe.model)
            network.generation_config = generation_config(run.recipe, network)
            network.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            source = Torch("base", network, tokenizer, run.recipe)
            try:
                made += Chain(run, scratch, [source], pairs, target, "base").make(["int8"])
            except UserError as error:
                # The page compares with it where it is there; nothing else depends on it.
                console.print(f"[yellow]No bundle of the base before fine-tuning. {error}", highlight=False)
    return made


def _origin(run: Run, tokenizer: PreTrainedTokenizerFast) -> System | None:
    """The export of Optimum's that an imported run comes from, in Optimum's runtime."""
    if run.imported_from is None:
        return None
    from export.optimum_layout import Optimum

    return Optimum("given ONNX", run.imported_from, tokenizer, run.recipe)


class Chain:
    """The way from PyTorch to what is served: every system is loaded and asked once."""

    def __init__(
        self,
        run: Run,
        source: Path,
        pytorch: list[Torch],
        pairs: Pairs,
        target: Target,
        kind: str = "",
        origin: System | None = None,
    ) -> None:
        """`source` is the model folder that is exported, the last of `pytorch` that model in PyTorch.

        `origin` is what that model was imported from.
        """
        self.run, self.recipe, self.source, self.pytorch = run, run.recipe, source, pytorch
        self.target, self.kind, self.origin = target, kind, origin
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
            # What is only a step on the way to int8 or fp16 is measured where every machine can run it.
            target = self.target if "fp32" in precisions else Target("cpu")
            links = self._fp32(place, target)
            made += [place] if "fp32" in precisions else []
            with target.engine("ONNX fp32", place) as exact:
                for precision in precisions:
                    if precision != "fp32":
                        made.append(self._rounded(precision, exact, links))
        return made

    def optimum(self) -> Path:
        """The model as Optimum lays it out, proved in Optimum's runtime, in the run's folder optimum/."""
        from export.optimum_layout import Optimum, write_optimum

        place = self.run.folder / "optimum"
        with replaced_folder(place) as folder:
            console.print("exporting to ONNX by Optimum")
            write_optimum(self.source, folder)
            links = self._exact_links(Optimum("ONNX by Optimum", folder, self.pytorch[-1].tokenizer, self.recipe))
            self._settle(folder, self._describe("fp32", layout="optimum"), links, links[-1])
        return place

    def _place(self, precision: str) -> Path:
        parts = ["bundle", self.kind, "" if precision == "fp32" else precision]
        return self.run.folder / "-".join(part for part in parts if part)

    def _fp32(self, place: Path, target: Target) -> list[Link]:
        with replaced_folder(place) as folder:
            console.print("exporting to ONNX, fp32")
            write_graphs(trace(self.source, fixed=target.device == "cuda"), self.source, folder)
            manifest = self._describe("fp32", kept_in_fp32=[])
            seal(folder, manifest)
            with target.engine("ONNX fp32", folder) as exact:
                links = self._exact_links(exact)
                manifest |= running(exact.engine)
            self._settle(folder, manifest, links, links[-1])
        return links

    def _exact_links(self, exact: System) -> list[Link]:
        """The chain from its beginning to `exact`, all of which say the same."""
        pairs = list(pairwise([*self.pytorch, exact]))
        if self.origin:
            pairs.insert(0, (self.pytorch[-1], self.origin))
        return self.comparison.links(pairs, self.pytorch[-1], [True] * len(pairs))

    def _rounded(self, precision: str, exact: Onnx, before: list[Link]) -> Path:
        """The int8 or fp16 bundle. Where its gate fails more nodes stay in fp32, worst first, until it holds."""
        console.print(f"exporting to ONNX, {precision}")
        attempts = self._int8() if precision == "int8" else self._fp16()
        with replaced_folder(self._place(precision)) as folder:
            for graphs, more in attempts:
                write_graphs(graphs, self.source, folder)
                manifest = self._describe(precision, **more)
                seal(folder, manifest)
                with self.target.engine(f"ONNX {precision}", folder) as served:
                    self.comparison.forget(served)
                    pairs = [(exact, served), (self.pytorch[-1], served)]
                    last, overall = self.comparison.links(pairs, self.pytorch[-1], [False, False])
                    manifest |= running(served.engine)
                if last.passed:
                    break
                reasons = " and ".join(last.report["reasons"])
                console.print(f"with {len(more['kept_in_fp32'])} nodes kept in fp32: {reasons}", highlight=False)
            self._settle(folder, manifest, [*before, last], overall)
        return self._place(precision)

    def _int8(self) -> Iterator[tuple[Graphs, dict]]:
        """Graphs with ever fewer 8-bit layers, and what the manifest says of them."""
        graphs = trace(self.source, self.calibration)
        kept = matching(
            self.recipe.export.kept_in_fp32, [name for graph in graphs.values() for name in roundable(graph)]
        )
        yield quantize_graphs(graphs, kept), {"kept_in_fp32": sorted(kept)}
        if self.kind:
            # Not worth a search: of the two sides the encoder suffers by far the more (docs/log.md).
            chosen = kept | set(roundable(graphs[ENCODER]))
            yield quantize_graphs(graphs, chosen), {"kept_in_fp32": sorted(chosen)}
            return
        ranked = self._ranked(graphs)
        for more in MORE_KEPT:
            chosen = kept | set(ranked[:more])
            yield quantize_graphs(graphs, chosen), {"kept_in_fp32": sorted(chosen)}

    def _fp16(self) -> Iterator[tuple[Graphs, dict]]:
        """Graphs in fp16 with ever more room below its largest number, and what the manifest says of them."""
        graphs = trace(self.source, fixed=True)
        few = slice(CALIBRATION)
        tokens = self.comparison.fed(self.pytorch[-1])[few]
        start = self.pytorch[-1].model.generation_config.decoder_start_token_id
        seen = observe(graphs, self.comparison.inputs[few][: len(tokens)], tokens, start)
        largest = {name: activations.most() for name, activations in seen.items()}
        named = [node.name for graph in graphs.values() for node in graph.graph.node]
        kept = matching(self.recipe.export.kept_in_fp32, named)
        for limit in LIMITS:
            beyond = {node for name, graph in graphs.items() for node in seen[name].beyond(graph, limit)}
            chosen = with_their_caches(graphs[DECODER], kept | beyond)
            yield halve(graphs, seen, chosen), {"kept_in_fp32": chosen, "largest_activation": largest}

    def _ranked(self, graphs: Graphs) -> list[str]:
        few = slice(SENSITIVITY)
        tokens = self.comparison.fed(self.pytorch[-1])
        prove = partial(seal, manifest=self._describe("int8"))
        damage = by_damage(graphs, self.source, prove, self.comparison.inputs[few], tokens[few])
        return [name for name, _ in damage]

    def _describe(self, precision: str, **more: object) -> dict:
        return describe(self.run, precision, model="base" if self.kind else "fine-tuned", **more)

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


def matching(patterns: list[str], names: list[str]) -> set[str]:
    """Those of `names` that one of `patterns` is found in. Raises UserError for a pattern that is found in none."""
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
