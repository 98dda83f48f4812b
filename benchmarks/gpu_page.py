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
weights, since speed does not depend on their values; parity is also measured on models/base.
"""
# Requests a second by clients, from TensorRT-LLM's issue 16706
PUBLISHED = {"8 clients": 173.7, "32 clients": 257.2, "64 clients": 335.4}
OPERATORS = 6  # of a provider, that are shown


def write_page(results: Path, page: Path) -> None:
    """Writes the page of all results in the folder."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("gpu-*.json"))]
    write_text(page, HEAD + "".join(map(device_section, contents)))


def device_section(content: dict) -> str:
    """Markdown of one device's results."""
    machine = content["machine"]
    software = ", ".join(f"{name} {version}" for name, version in machine["software"].items())
    lines = [f"\n## {machine['device']}", f"\n{software}; {machine['cores']} processor cores.\n"]
    notes = content.get("notes", {})  # written by hand, about a part or the whole
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
    if not results.get("mixed"):
        return
    yield (
        "\nMixed load: texts of 50 to 900 tokens, summaries of 5 to 80. All requests at once; and, for our engine, "
        "arriving at 80% of that rate.\n"
    )
    rows = []
    for name, row in results["mixed"].items():
        if "left_out" in row:
            rows.append((name, row["left_out"], *[None] * 4))
            continue
        latencies = [
            row.get(batching, {}).get(key) for batching in ("continuous", "static") for key in ("p50_s", "p95_s")
        ]
        rows.append((name, f"{row['requests_per_second']:,.0f}", *latencies))
    head = ("system", "requests/s", "p50 s, continuous batching", "p95 s", "p50 s, static batches", "p95 s")
    yield from table(head, *rows)


def _steps(results: dict) -> Iterator[str]:
    results = results["steps"]
    yield (
        f"Microseconds a step of our decoder, the mean of {results['steps']}: all rows with {results['source_tokens']} "
        f"input tokens and summaries of up to {results['new_tokens']}, the next tokens chosen on the GPU and read by "
        "the host. “Replayed” is a CUDA graph, “launched” one operator after the other.\n"
    )
    counts = sorted({rows for row in results["microseconds"].values() for rows in row}, key=int)
    rows = [
        (mode, *(f"{row[count]:,}" if count in row else None for count in counts))
        for mode, row in results["microseconds"].items()
    ]
    yield from table(("graphs", *(f"{count} rows" if count != "1" else "1 row" for count in counts)), *rows)


def _service(results: dict) -> Iterator[str]:
    yield (
        f"`python -m bento` on the GPU with the {results['precision']} bundle: {results['new_tokens']} new tokens of "
        "texts of 50 to 450, for clients on this machine that ask again when answered. TensorRT-LLM's figures (its "
        "issue 16706) are of a T5 of unknown size on an unknown GPU: a landmark, not a comparison.\n"
    )
    rows = [
        (name, row["summaries_per_second"], row["p50_s"], row["p99_s"], PUBLISHED.get(name))
        for name, row in results.get("closed", {}).items()
    ]
    yield from table(("load", "requests/s", "p50 s", "p99 s", "TensorRT-LLM's published requests/s"), *rows)


def _finetune(results: dict) -> Iterator[str]:
    yield (
        f"LoRA (rank 16 on all linear layers) in bf16 by the project's own training, random tokens with lengths like "
        f"XSum's (documents of 430 tokens on average, cut at 512; summaries of 27). The peak is what a product of two "
        f"{results['matrix']:,}² bf16 matrices reached on the same GPU: {results['matrix_tflops']:.0f} TFLOP/s. Its "
        f"share counts no padding, and no gradients of frozen weights. One epoch is XSum's {XSUM:,} pairs, projected "
        f"from these rates, without evaluations.\n"
    )
    head = (
        "batch",
        "torch.compile",
        "fused AdamW",
        "workers",
        "samples/s",
        "tokens/s",
        "share of the peak",
        "peak MiB",
    )
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
    yield "The export's own checks, and each bundle compared with PyTorch in fp32 on the GPU.\n"
    bundles = [
        (model, precision, bundle)
        for model, row in results["models"].items()
        for precision, bundle in row["bundles"].items()
    ]
    rows = [
        (
            model,
            precision,
            link["link"],
            _small(link["max_abs_logit_difference"]),
            f"{link['identical_summaries']} of {link['documents']}" + f", ties {link['ties']}" * bool(link["ties"]),
            _yes(link["passed"]),
        )
        for model, precision, bundle in bundles
        for link in (*bundle["links"], bundle["on_the_device"])
    ]
    yield from table(("model", "bundle", "link", "largest logit difference", "identical summaries", "passed"), *rows)
    for model, row in results["models"].items():
        if "failed" in row:
            yield f"{model}: the export ended with “{row['failed']}”\n"
    rows = [
        (model, precision, graph, provider, sum(operators.values()), _operators(provider, operators))
        for model, precision, bundle in bundles
        for graph, placement in bundle["node_placement"].items()
        for provider, operators in placement.items()
    ]
    yield from table(("model", "bundle", "graph", "provider", "nodes", "of which"), *rows)
    if results["refusals"]:
        yield 'The errors of `Engine.load(device="cuda")` if something is missing:\n'
        rows = [
            (case, _yes(row["refused"]), row["message"].replace("|", "/")) for case, row in results["refusals"].items()
        ]
        yield from table(("missing", "refused", "message"), *rows)


SECTIONS = {
    "engine": ("The engine and its peers", _engine),
    "steps": ("Decoder steps", _steps),
    "service": ("The service", _service),
    "finetune": ("Fine-tuning", _finetune),
    "parity": ("Parity", _parity),
}


def _operators(provider: str, operators: dict[str, int]) -> str:
    """The most frequent operators, and all that run on the CPU."""
    shown = list(operators.items())[: None if provider.startswith("CPU") else OPERATORS]
    more = f" and {len(operators) - len(shown)} others" * (len(operators) > len(shown))
    return ", ".join(f"{count} {operator}" for operator, count in shown) + more


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _small(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.1e}"
