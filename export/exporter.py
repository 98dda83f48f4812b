"""Writes the bundles of one model and proves each: a folder appears only if its parity with PyTorch has passed.

If a check fails, the export names the comparison and the documents, exits with status 1 and keeps the previous bundle.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

from export.checks import Run
from export.documents import CALIBRATION_DOCUMENTS, Documents
from export.graphs.trace import trace, write_graphs
from export.graphs.weights import Graphs
from export.manifest import new_manifest, with_placement, write_manifest
from export.parity.comparison import Comparison, Link
from export.parity.report import explain, summarize, write_report
from export.parity.systems import EngineSystem, PyTorchSystem, System, Target
from export.precision.activations import ActivationRange, measure_activations
from export.precision.candidates import Candidate, fp16_candidates, int8_candidates
from export.precision.sensitivity import rank_by_sensitivity
from export.trust import labels
from export.trust.certificate import MIN_PAIRS, Mode, certify
from finetune.data.tokenizing import encode
from finetune.errors import UserError
from finetune.files import replaced_folder, write_json
from finetune.reports.progress import console
from precis.bundle.choose import bundle_folder
from precis.bundle.manifest import Manifest
from precis.bundle.reports import TrustCertificate
from precis.text.familiarity import Familiarity

FAILED_FOLDER = "parity-failed"  # in the run: the report of an export that failed
SENSITIVITY_DOCUMENTS = 12


class BundleExporter:
    """The export of one model, fine-tuned or base; every system summarizes the documents only once."""

    def __init__(
        self,
        run: Run,
        model_folder: Path,
        pytorch: list[PyTorchSystem],
        documents: Documents,
        target: Target,
        base: bool = False,
    ) -> None:
        """`model_folder` holds the model to export; `pytorch` ends with that model.

        Systems before it in `pytorch` have to agree with it exactly. `base` marks the base model before fine-tuning.
        """
        self.run, self.recipe, self.model_folder, self.pytorch = run, run.recipe, model_folder, pytorch
        self.target, self.base = target, base
        tokenizer = pytorch[-1].tokenizer
        inputs = encode(tokenizer, documents.parity, self.recipe)
        self.comparison = Comparison(self.recipe, inputs, documents.parity, documents.references)
        self.held_out, self.judged = documents.trust, documents.judged
        self.certified = ""  # the precision whose bundle gets the certificates
        self.certificates: list[TrustCertificate] = []  # by mode
        self.calibration = encode(tokenizer, documents.calibration, self.recipe)
        self.knows_language = Familiarity(tokenizer.backend_tokenizer).knows(documents.parity, inputs)

    def export(self, precisions: list[str]) -> list[Path]:
        """Writes the bundles of `precisions`, fp32 first, and returns their folders. The last one is certified.

        fp32 is always exported and proved, since the others are compared with it; without "fp32" among `precisions`
        this happens in a temporary folder and on the CPU. Raises UserError if parity fails, EngineError if a bundle
        cannot be loaded.
        """
        bundles = []
        self.certified = "" if self.base else precisions[-1]
        with scratch_folder(self.run.folder, "fp32") as scratch:
            with_fp32 = "fp32" in precisions
            folder = self._bundle_folder("fp32") if with_fp32 else scratch / "bundle"
            target = self.target if with_fp32 else Target("cpu")
            links = self._export_fp32(folder, target)
            if with_fp32:
                bundles.append(folder)
            with target.load("ONNX fp32", folder) as fp32:
                for precision in precisions:
                    if precision != "fp32":
                        bundles.append(self._export_converted(precision, fp32, links))
        return bundles

    def _export_fp32(self, path: Path, target: Target) -> list[Link]:
        with replaced_folder(path) as folder:
            console.print("exporting to ONNX, fp32")
            write_graphs(trace(self.model_folder, static=target.device == "cuda"), self.model_folder, folder)
            manifest = self._new_manifest("fp32").model_copy(update={"kept_in_fp32": []})
            write_manifest(folder, manifest)
            with target.load("ONNX fp32", folder) as fp32:
                links = self._exact_links(fp32)
                manifest = self._certify(with_placement(manifest, fp32.engine), fp32, links)
            self._finish(folder, manifest, links, links[-1])
        return links

    def _exact_links(self, exported: System) -> list[Link]:
        """The links from the first PyTorch model to `exported`, all of which have to agree exactly."""
        systems: list[System] = [*self.pytorch, exported]
        return self.comparison.compare(list(pairwise(systems)), self.pytorch[-1], exact=True)

    def _export_converted(self, precision: str, fp32: EngineSystem, fp32_links: list[Link]) -> Path:
        """Writes the int8 or fp16 bundle: the first candidate that passes, else the last one's report is kept."""
        console.print(f"exporting to ONNX, {precision}")
        with replaced_folder(self._bundle_folder(precision)) as folder:
            for candidate, manifest in self._candidates(precision):
                write_graphs(candidate.graphs, self.model_folder, folder)
                write_manifest(folder, manifest)
                with self.target.load(f"ONNX {precision}", folder) as converted:
                    self.comparison.forget(converted)
                    pairs: list[tuple[System, System]] = [(fp32, converted), (self.pytorch[-1], converted)]
                    link, overall = self.comparison.compare(pairs, self.pytorch[-1], exact=False)
                    manifest = self._certify(with_placement(manifest, converted.engine), converted, [link])
                if link.report.passed:
                    break
                reasons = " and ".join(link.report.reasons)
                console.print(f"with {len(candidate.fp32_nodes)} nodes kept in fp32: {reasons}", highlight=False)
            self._finish(folder, manifest, [*fp32_links, link], overall)
        return self._bundle_folder(precision)

    def _candidates(self, precision: str) -> Iterator[tuple[Candidate, Manifest]]:
        """The graphs to try for `precision`, each with its manifest."""
        patterns, manifest = self.recipe.export.kept_in_fp32, self._new_manifest(precision)
        if precision == "int8":
            graphs = trace(self.model_folder, self.calibration)
            # The base is not worth the slow search.
            candidates = int8_candidates(graphs, patterns, None if self.base else partial(self._rank_nodes, graphs))
        else:
            graphs = trace(self.model_folder, static=True)
            ranges = self._measure_activations(graphs)
            largest = {name: activations.largest() for name, activations in ranges.items()}
            manifest = manifest.model_copy(update={"largest_activation": largest})
            candidates = fp16_candidates(graphs, patterns, ranges)
        for candidate in candidates:
            yield candidate, manifest.model_copy(update={"kept_in_fp32": candidate.fp32_nodes})

    def _rank_nodes(self, graphs: Graphs) -> list[str]:
        """Names of the quantizable nodes, most sensitive first."""
        tokens = self.comparison.forced_tokens(self.pytorch[-1])[:SENSITIVITY_DOCUMENTS]
        write = partial(write_manifest, manifest=self._new_manifest("int8"))
        ranked = rank_by_sensitivity(graphs, self.model_folder, write, self.comparison.inputs[: len(tokens)], tokens)
        return [name for name, _ in ranked]

    def _measure_activations(self, graphs: Graphs) -> dict[str, ActivationRange]:
        """The activation ranges on the first documents, the decoder being fed PyTorch's summaries."""
        tokens = self.comparison.forced_tokens(self.pytorch[-1])[:CALIBRATION_DOCUMENTS]
        start = self.pytorch[-1].model.generation_config.decoder_start_token_id
        return measure_activations(graphs, self.comparison.inputs[: len(tokens)], tokens, start)

    def _certify(self, manifest: Manifest, system: EngineSystem, links: list[Link]) -> Manifest:
        """The manifest with its certificates of trust, if the bundle is the one to certify and has passed."""
        if manifest.precision != self.certified or not all(link.report.passed for link in links):
            return manifest
        console.print("calibrating trust on validation pairs")
        names: dict[Mode, str] = {"write": "trust"}
        if self.recipe.generation.mode == "extract":
            names["extract"] = "extraction_trust"
        made = {name: certify(system.engine, *self.held_out, mode, self.judged) for mode, name in names.items()}
        certificates = {name: certificate for name, certificate in made.items() if certificate}
        self.certificates = list(certificates.values())
        for certificate in self.certificates:
            if self.judged and certificate.check != labels.CHECK:
                console.print(
                    f"mode {certificate.mode}: fewer than {MIN_PAIRS} of its summaries are judged in --labels"
                )
        return manifest.model_copy(update=certificates)

    def _bundle_folder(self, precision: str) -> Path:
        if self.base:
            return self.run.folder / f"bundle-base-{precision}"
        return bundle_folder(self.run.folder, precision)

    def _new_manifest(self, precision: str) -> Manifest:
        kind: Literal["base", "fine-tuned"] = "base" if self.base else "fine-tuned"
        manifest = new_manifest(self.run, precision, kind, self.pytorch[-1].tokenizer, self.pytorch[-1].ranker)
        return manifest.model_copy(update={"checks_language": self.knows_language})

    def _finish(self, folder: Path, manifest: Manifest, links: list[Link], overall: Link) -> None:
        """Writes the parity report and the final manifest. Raises UserError if a link failed."""
        title = f"{self.run.folder.name}{', base' if self.base else ''}, {manifest.precision}"
        report = write_report(links, overall, title, folder)
        write_json(folder / "parity.json", report.model_dump(mode="json", exclude_unset=True))
        if not report.passed:
            with replaced_folder(self.run.folder / FAILED_FOLDER) as failed:
                for name in ("parity.json", "parity.md", "parity.png"):
                    shutil.copy(folder / name, failed / name)
            raise UserError(explain(links, self.run.folder / FAILED_FOLDER / "parity.md"))
        write_manifest(folder, manifest.model_copy(update={"parity": report}))
        console.print(summarize(links), highlight=False)


@contextmanager
def scratch_folder(run: Path, name: str) -> Iterator[Path]:
    """A temporary folder in the run; its fixed name lets the next export remove it after a kill."""
    folder = run / f".{name}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
