"""The parity report: the content of parity.json, and parity.md with its figure for people."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from export.parity.comparison import Link, list_documents
from export.parity.logit_difference import EDGES
from finetune.evaluation.rouge import KINDS
from finetune.files import write_text
from precis.bundle.reports import LinkReport, ParityReport

EXAMPLES = 5  # differing summaries that parity.md shows for each link
SHARED_FIELDS = {  # that the report takes from the overall link
    "documents",
    "identical_summaries",
    "ties",
    "token_agreement",
    "max_abs_logit_difference",
    "mean_abs_logit_difference",
    "delta",
    "delta_ci95",
}
LIMITS = {"tolerance", "rouge_tolerance", "rouge_interval"}


def write_report(links: list[Link], overall: Link, title: str, folder: Path) -> ParityReport:
    """Writes parity.md and parity.png into `folder` and returns the content of parity.json.

    `links` lead from the first PyTorch model to the exported one; `overall` compares PyTorch with the exported model
    directly.
    """
    report = ParityReport.model_validate(
        {
            **overall.report.model_dump(include=SHARED_FIELDS),
            **links[-1].report.model_dump(include=LIMITS, exclude_unset=True),
            "pytorch": overall.report.rouge[0],
            "onnx": overall.report.rouge[1],
            "passed": all(link.report.passed for link in links),
            "links": [link.report for link in links],
        }
    )
    write_text(folder / "parity.md", _markdown(report.passed, links, title))
    _figure(links, overall, folder / "parity.png")
    return report


def explain(links: list[Link], path: Path) -> str:
    """One sentence on the first link that failed; `path` is the report with the details."""
    failed = next(link for link in links if not link.report.passed)
    reasons = " and ".join(failed.report.reasons)
    if failed.differing and "documents" not in reasons:
        reasons += f" (most on {list_documents(failed.differing)})"
    return f"Parity failed at {failed.report.link}: {reasons}; no bundle was written, see {path}."


def summarize(links: list[Link]) -> str:
    """A line for each link, for the console."""
    return "\n".join(_summary(link.report) for link in links)


def _summary(link: LinkReport) -> str:
    return (
        f"{link.link}: {link.identical_summaries} of {link.documents} summaries identical, {link.ties} ties, "
        f"{link.token_agreement:.2%} of next tokens equal, logits within {_number(link.max_abs_logit_difference, 1)}, "
        f"ROUGE-L {link.rouge[1]['rougeL']:.2f} ({link.delta['rougeL']:+.2f})"
    )


def _markdown(passed: bool, links: list[Link], title: str) -> str:
    rows = [
        f"| {link.link} | {'passed' if link.passed else '**failed**'} | {link.identical_summaries} of "
        f"{link.documents} | {link.ties} | {link.token_agreement:.2%} | "
        f"{_number(link.max_abs_logit_difference)} | {_number(link.mean_abs_logit_difference)} |"
        for link in (link.report for link in links)
    ]
    parts = [
        f"# Parity of {title}\n\n{'**Passed.**' if passed else '**Failed.**'} Each row compares two steps of the "
        "conversion, from the fine-tuned model in PyTorch to the exported one.",
        "| compared | result | identical summaries | ties | same next token | largest logit difference | mean |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows),
        "A tie is a summary that differs only from a step on at which PyTorch's scores of the two tokens are within "
        "0.0001 of each other. Next tokens and logits are compared while both models are fed the same summary.",
    ]
    for link in links:
        parts += _link_section(link)
    parts.append("![ROUGE of each document under both models, and the distribution of logit differences](parity.png)")
    return "\n\n".join(parts) + "\n"


def _link_section(link: Link) -> list[str]:
    """Paragraphs on one link: limits, ROUGE, reasons for failing, examples."""
    report = link.report
    if report.tolerance is not None:
        limits = f"the same summaries, and logits within {report.tolerance:.0e}"
    else:
        limits = (
            f"a ROUGE difference of {report.rouge_tolerance:.2f} points, with its 95% interval (paired bootstrap over "
            f"documents) within ±{report.rouge_interval:.2f}"
        )
    rows = "\n".join(
        f"| {kind} | {report.rouge[0][kind]:.3f} | {report.rouge[1][kind]:.3f} | {report.delta[kind]:+.3f} | "
        f"[{report.delta_ci95[kind][0]:+.3f}, {report.delta_ci95[kind][1]:+.3f}] |"
        for kind in KINDS
    )
    parts = [
        f"## {report.link}\n\nAllowed: {limits}.\n\n| ROUGE F1 | {link.left} | {link.right} | difference | "
        f"95% interval |\n|---|---|---|---|---|\n{rows}"
    ]
    if report.reasons:
        parts.append("Failed: " + "; ".join(report.reasons) + ".")
    left, right = link.outputs
    return parts + [
        f"Document {number}:\n- {link.left}: {left.texts[number]}\n- {link.right}: {right.texts[number]}"
        for number in link.differing[:EXAMPLES]
    ]


def _number(value: float | None, digits: int = 2) -> str:
    return "not finite" if value is None else f"{value:.{digits}e}"


def _figure(links: list[Link], overall: Link, path: Path) -> None:
    """Writes a scatter plot of ROUGE by document, and the distribution of each link's logit differences."""
    figure, (scatter, distribution) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for kind, colour in zip(("rouge1", "rougeL"), ("C0", "C1"), strict=True):
        scatter.scatter(overall.rouge[0][kind], overall.rouge[1][kind], s=10, color=colour, label=kind, alpha=0.6)
    top = 5 + max(float(np.max(values["rouge1"])) for values in overall.rouge)
    scatter.plot([0, top], [0, top], color="grey", linewidth=0.8, zorder=0)
    scatter.set(xlabel=overall.left, ylabel=overall.right, title="ROUGE of each document", xlim=(0, top), ylim=(0, top))
    scatter.legend()
    for link in links:
        distribution.stairs(link.histogram / link.histogram.sum(), EDGES, label=link.report.link)
    distribution.set(
        xscale="log", xlabel="absolute difference", ylabel="share of all logits", title="Logits, fed the same tokens"
    )
    distribution.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
