"""Writes docs/gpu.md from the results in benchmarks/results/gpu-*.json."""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.variants import XSUM
from finetune.files import write_text

PAGE = Path(__file__).parent.parent / "docs/gpu.md"
HEAD = """\
# On a GPU

<!-- Written by `make gpu-check`. -->

Results of `make gpu-check PYTHON=python3`; each part names its own command. The model has t5-small's shape and random
weights, since speed does not depend on their values; parity is measured on models/base.
"""


def write_page(results: Path, page: Path) -> None:
    """Writes the page of all results in the folder."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("gpu-*.json"))]
    write_text(page, HEAD + "".join(map(device_section, contents)))


def device_section(content: dict) -> str:
    """Markdown of one device's results."""
    machine = content["machine"]
    software = ", ".join(f"{name} {version}" for name, version in machine["software"].items())
    lines = [f"\n## {machine['device']}", f"\n{software}; {machine['cores']} processor cores.\n"]
    notes = content.get("notes", {})  # written by hand, about a part or the device
    if "device" in notes:
        lines.append(f"{notes['device']}\n")
    for part, (title, write) in SECTIONS.items():
        row = content["parts"].get(part)
        lines.append(f"\n### {title}\n")
        if row is None:
            lines.append("Not measured.\n")
        elif "command" in row:
            commit = f", at {row['commit']}" * bool(row["commit"])
            lines.append(f"`{row['command']}`, {row['seconds']:.0f} s{commit}\n")
        if part in notes:
            lines.append(f"{notes[part]}\n")
        if row is None:
            continue
        if "failed" in row:
            lines.append(f"{row['failed']}{' Results until then:' * ('results' in row)}\n")
        if "skipped" in row:
            lines.append(f"Not measured: {row['skipped']}\n")
        if "results" in row:
            lines += write(row["results"])
    return "\n".join(lines).rstrip("\n") + "\n"


def table(*rows: tuple) -> Iterator[str]:
    """A Markdown table; the first row is its head. None is a dash."""
    for number, row in enumerate(rows):
        yield "| " + " | ".join("–" if cell is None else str(cell) for cell in row) + " |"
        if not number:
            yield "|" + "---|" * len(row)
    yield ""


def _engine(results: dict) -> Iterator[str]:
    yield (
        f"Summaries a second: greedy, {results['source_tokens']} input and {results['new_tokens']} new tokens, the "
        f"median of {results['rounds']} rounds (fewer if the part was stopped). “Compiled” is PyTorch's generate with "
        "a static cache, which compiles its steps.\n"
    )
    batches = sorted({batch for rates in results["greedy"].values() for batch in rates}, key=int)
    rows = [
        (name, *(_rate(rates[batch]) if batch in rates else None for batch in batches))
        for name, rates in results["greedy"].items()
        if rates
    ]
    yield from table(("system", *(f"batch {batch}" for batch in batches)), *rows)
    for name, reason in results.get("failed", {}).items():
        yield f"- {name} is left out: {reason}"


def _mixed(results: dict) -> Iterator[str]:
    mixed = results["mixed_load"]
    yield (
        "Our engine under mixed load: texts of 50 to 900 tokens, summaries of 5 to 80. All at once it has "
        f"{mixed['requests_per_second']} requests a second; arriving at 80% of that rate:\n"
    )
    rows = [
        (name, mixed[batching]["requests_per_second"], mixed[batching]["p50_s"], mixed[batching]["p95_s"])
        for name, batching in (
            ("continuous batching", "continuous"),
            ("first token, all streamed", "first_token"),
            ("static batches", "static"),
        )
    ]
    yield from table(("batching", "requests/s", "p50 s", "p95 s"), *rows)


def _service(results: dict) -> Iterator[str]:
    yield (
        f"`python -m bento` on the GPU with the {results['precision']} bundle: {results['new_tokens']} new tokens of "
        "texts of 50 to 450, for clients on this machine that ask again when answered. "
        + (f"The engine alone, without HTTP: {results['engine_alone']}." if "engine_alone" in results else "")
        + "\n"
    )
    rows = [
        (name, row["summaries_per_second"], row["p50_s"], row["p99_s"])
        for name, row in results.get("closed", {}).items()
    ]
    yield from table(("load", "requests/s", "p50 s", "p99 s"), *rows)


def _finetune(results: dict) -> Iterator[str]:
    yield (
        f"LoRA (rank 16 on all linear layers) in bf16 by the project's own training, random tokens with lengths like "
        f"XSum's (documents of 430 tokens on average, cut at 512; summaries of 27). The peak is what a product of two "
        f"{results['matrix']:,}² bf16 matrices reached on the same GPU: {results['matrix_tflops']:.0f} TFLOP/s. Its "
        f"share counts no padding, and no gradients of frozen weights. One epoch is XSum's {XSUM:,} pairs, projected "
        f"from these rates, without evaluations.\n"
    )
    settings_head = ("batch", "torch.compile", "fused AdamW", "workers")
    head = (*settings_head, "samples/s", "tokens/s", "share of the peak", "peak MiB")
    rows = []
    for row in results["variants"]:
        settings = (row["batch"], _yes(row["compile"]), _yes(row["fused"]), row["workers"])
        if "failed" in row:
            rows.append((*settings, row["failed"].replace("|", "/"), *[None] * 5))
            continue
        figures = (f"{row['samples_per_second']:,.0f}", f"{row['tokens_per_second']:,}", f"{row['peak_share']:.1%}")
        rows.append((*settings, *figures, f"{row['peak_mib']:,}", row["epoch_minutes"], row["warm_up_s"]))
    yield from table((*head, "one epoch, minutes", "first steps, s"), *rows)


def _parity(results: dict) -> Iterator[str]:
    yield (
        f"`python -m export` took {results['seconds']:.0f} s and {results['peak_mib']:,} MiB. Its links, from PyTorch "
        "to the bundle on the GPU:\n"
    )
    rows = [
        (
            precision,
            link["link"],
            _small(link["max_abs_logit_difference"]),
            f"{link['identical_summaries']} of {link['documents']}" + f", ties {link['ties']}" * bool(link["ties"]),
            _yes(link["passed"]),
        )
        for precision, links in results["links"].items()
        for link in links
    ]
    yield from table(("bundle", "link", "largest logit difference", "identical summaries", "passed"), *rows)


SECTIONS = {
    "parity": ("Parity of models/base on Gazette", _parity),
    "engine": ("The engine and its peers", _engine),
    "service": ("The service", _service),
    "mixed": ("Mixed load", _mixed),
    "finetune": ("Fine-tuning", _finetune),
}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _small(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.1e}"
