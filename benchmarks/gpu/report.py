"""The page docs/gpu.md of the results in benchmarks/results/gpu-*.json."""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.finetune import XSUM
from finetune.files import write_text

PAGE = Path(__file__).parents[2] / "docs/gpu.md"
HEAD = """\
# On a GPU

<!-- Written by `make gpu-check`. -->

What `make gpu-check PYTHON=python3` found; each part's own command is beside it. t5-small's shape with random weights,
since speed does not depend on what they say; the parity also of models/base.
"""


SHOWN = 6  # operators of a provider


def write_page(results: Path, page: Path) -> None:
    """Writes the page of all results in the folder."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("gpu-*.json"))]
    write_text(page, HEAD + "".join(map(card, found)))


def card(result: dict) -> str:
    """Markdown of one card's results."""
    machine = result["machine"]
    software = ", ".join(f"{name} {version}" for name, version in machine["software"].items())
    lines = [f"\n## {machine['card']}", f"\n{software}; {machine['cores']} processor cores.\n"]
    notes = result.get("notes", {})  # written by hand, of a part or the whole
    if "card" in notes:
        lines.append(f"{notes['card']}\n")
    writers = {"engine": _engine, "steps": _steps, "service": _service, "finetune": _finetune, "parity": _parity}
    for part, write in writers.items():
        row = result["parts"].get(part)
        lines.append(f"\n### {TITLES[part]}\n")
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
            lines.append(f"{row['failed']}{' What there was by then:' * ('found' in row)}\n")
        if "skipped" in row:
            lines.append(f"Not measured: {row['skipped']}\n")
        if "found" in row:
            lines += write(row["found"])
    return "\n".join(lines).rstrip("\n") + "\n"


TITLES = {
    "finetune": "Fine-tuning",
    "parity": "Parity",
    "engine": "The engine beside its peers",
    "steps": "Steps of the decoder",
    "service": "The service",
}


def table(*rows: tuple) -> Iterator[str]:
    """A Markdown table; the first row is its head. None is a dash."""
    for number, row in enumerate(rows):
        yield "| " + " | ".join("–" if cell is None else str(cell) for cell in row) + " |"
        if not number:
            yield "|" + "---|" * len(row)
    yield ""


def _finetune(found: dict) -> Iterator[str]:
    yield (
        f"LoRA (rank 16 on all linear layers) in bf16 by the project's own training, random tokens with lengths like "
        f"XSum's (documents of 430 tokens on average, cut at 512; summaries of 27). The peak is what a product of two "
        f"{found['matrix']:,}² bf16 matrices reached on the same card: {found['matrix_tflops']:.0f} TFLOP/s. Its share "
        f"counts no padding, and no gradients of frozen weights. One epoch is XSum's {XSUM:,} pairs, projected from "
        f"these rates, without evaluations.\n"
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
    for way in found["ways"]:
        settings = (way["batch"], _yes(way["compile"]), _yes(way["fused"]), way["workers"])
        if "failed" in way:
            rows.append((*settings, way["failed"].replace("|", "/"), *[None] * 5))
            continue
        figures = (f"{way['samples_per_second']:,.0f}", f"{way['tokens_per_second']:,}", f"{way['peak_share']:.1%}")
        rows.append((*settings, *figures, f"{way['peak_mib']:,}", way["epoch_minutes"], way["warm_up_s"]))
    yield from table((*head, "one epoch, minutes", "first steps, s"), *rows)


def _parity(found: dict) -> Iterator[str]:
    yield "The links of the export's gate, and each bundle beside PyTorch in fp32 on the card.\n"
    rows = []
    for model, told in found["models"].items():
        links = [
            (precision, link) for precision in told if _is_bundle(told, precision) for link in _links(told[precision])
        ]
        rows += [
            (
                model,
                precision,
                link["link"],
                _small(link["max_abs_logit_difference"]),
                f"{link['identical_summaries']} of {link['documents']}"
                + (f", ties {link['ties']}" * bool(link["ties"])),
                _yes(link["passed"]),
            )
            for precision, link in links
        ]
    yield from table(("model", "bundle", "link", "largest logit difference", "the same summaries", "passed"), *rows)
    for model, told in found["models"].items():
        if "failed" in told:
            yield f"{model}: the export ended with “{told['failed']}”\n"
    rows = [
        (model, precision, graph, provider, sum(kinds.values()), _kinds(provider, kinds))
        for model, told in found["models"].items()
        for precision in told
        if _is_bundle(told, precision)
        for graph, placed in told[precision]["node_placement"].items()
        for provider, kinds in placed.items()
    ]
    yield from table(("model", "bundle", "graph", "provider", "nodes", "of which"), *rows)
    if found["refusals"]:
        yield 'What `Engine.load(device="cuda")` says where something is missing:\n'
        rows = [
            (case, _yes(told["refused"]), told["said"].replace("|", "/")) for case, told in found["refusals"].items()
        ]
        yield from table(("missing", "refused", "in its words"), *rows)


def _kinds(provider: str, kinds: dict[str, int]) -> str:
    """The commonest operators, and all that run on the CPU."""
    shown = list(kinds.items())[: None if provider.startswith("CPU") else SHOWN]
    more = f" and {len(kinds) - len(shown)} others" * (len(kinds) > len(shown))
    return ", ".join(f"{count} {kind}" for kind, count in shown) + more


def _is_bundle(told: dict, key: str) -> bool:
    return key not in ("failed", "evidence")


def _links(bundle: dict) -> list[dict]:
    return [*bundle["links"], bundle["on_the_device"]]


def _engine(found: dict) -> Iterator[str]:
    yield (
        f"Summaries a second: greedy, {found['source_tokens']} input and {found['new_tokens']} new tokens, the median "
        f"of {found['rounds']} turns (of fewer where the part was stopped); “Compiled” is PyTorch's generate with a "
        "static cache, which compiles its steps.\n"
    )
    batches = sorted({batch for rates in found["rates"].values() for batch in rates}, key=int)
    rows = [
        (name, *(_rate(rates[batch]) if batch in rates else None for batch in batches))
        for name, rates in found["rates"].items()
    ]
    yield from table(("system", *(f"batch {batch}" for batch in batches)), *rows)
    for name, reason in found["failed"].items():
        yield f"- {name} is left out: {reason}"
    if not found["mixed"]:
        return
    yield (
        "\nMixed load: texts of 50 to 900 tokens, summaries of 5 to 80. All at once; and, for our engine, arriving "
        "at 80% of that rate.\n"
    )
    rows = []
    for name, told in found["mixed"].items():
        if "left_out" in told:
            rows.append((name, told["left_out"], *[None] * 4))
            continue
        late = [told.get(way, {}).get(key) for way in ("continuous", "static") for key in ("p50_s", "p95_s")]
        rows.append((name, f"{told['requests_per_second']:,.0f}", *late))
    head = ("system", "requests/s", "p50 s, running batch", "p95 s", "p50 s, static batches", "p95 s")
    yield from table(head, *rows)


def _steps(found: dict) -> Iterator[str]:
    yield (
        f"Microseconds a step of our decoder, the mean of {found['steps']}: all rows with {found['source_tokens']} "
        f"input tokens and summaries of up to {found['new_tokens']}, the next tokens chosen on the card and read by "
        "the host. “Replayed” is a CUDA graph, “launched” one operator after the other.\n"
    )
    counts = sorted({rows for row in found["microseconds"].values() for rows in row}, key=int)
    rows = [
        (way, *(f"{row[count]:,}" if count in row else None for count in counts))
        for way, row in found["microseconds"].items()
    ]
    yield from table(("graphs", *(f"{count} rows" if count != "1" else "1 row" for count in counts)), *rows)


def _service(found: dict) -> Iterator[str]:
    yield (
        f"`python -m bento` on the card with the bundle {found['bundle']}: {found['new_tokens']} new tokens of texts "
        "of 50 to 450, for clients on this machine that ask again when answered. TensorRT-LLM's figures (its issue "
        "16706) are of a T5 whose size is not told, on a card that is not told: a landmark, no comparison.\n"
    )
    rows = [
        (clients, row["summaries_per_second"], row["p50_s"], row["p99_s"], found["published"].get(clients))
        for clients, row in found["clients"].items()
    ]
    yield from table(("clients", "requests/s", "p50 s", "p99 s", "TensorRT-LLM's published requests/s"), *rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _small(value: float | None) -> str:
    return "no number" if value is None else f"{value:.1e}"
