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
LIMITS = {"tolerance", "rouge_tolerance", "rouge_interval"}
INTRODUCTION = """Each row compares two steps of the conversion, from the model in PyTorch to the exported one.

| compared | result | identical summaries | ties | same next token | largest logit difference | mean |
|---|---|---|---|---|---|---|
{rows}

A tie is a summary that differs only from a step on at which PyTorch's scores of the two tokens are within 0.0001 of
each other. Next tokens and logits are compared while both models are fed the same summary. ROUGE is F1 in points, with
the 95% interval of the difference (paired bootstrap over documents).

![ROUGE of each document under both models, and the distribution of logit differences](parity.png)"""


def write_report(links: list[Link], overall: Link, title: str, folder: Path) -> ParityReport:
    """Writes parity.md and parity.png into `folder` and returns the content of parity.json.

    `links` lead from the first PyTorch model to the exported one; `overall` compares PyTorch with the exported model
    directly.
    """
    shared = set(ParityReport.model_fields) & set(LinkReport.model_fields) - LIMITS - {"passed"}
    report = ParityReport.model_validate(
        {
            **overall.report.model_dump(include=shared, exclude_unset=True),
            **links[-1].report.model_dump(include=LIMITS, exclude_unset=True),
            "pytorch": overall.report.rouge[0],
            "onnx": overall.report.rouge[1],
            "passed": all(link.report.passed for link in links),
            "links": [link.report for link in links],
        }
    )
    verdict = "**Passed.**" if report.passed else "**Failed.**"
    rows = "\n".join(_row(link.report) for link in links)
    parts = [f"# Parity of {title}", f"{verdict} {INTRODUCTION.format(rows=rows)}"]
    parts += [paragraph for link in links for paragraph in _section(link)]
    write_text(folder / "parity.md", "\n\n".join(parts) + "\n")
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
    return "\n".join(
        f"{link.link}: {link.identical_summaries} of {link.documents} summaries identical, {link.ties} ties, "
        f"{link.token_agreement:.2%} of next tokens equal, logits within {_number(link.max_abs_logit_difference)}, "
        f"{_scores(link)}ROUGE-L {link.rouge[1]['rougeL']:.2f} ({link.delta['rougeL']:+.2f})"
        for link in (link.report for link in links)
    )


def _row(link: LinkReport) -> str:
    result = "passed" if link.passed else "**failed**"
    return (
        f"| {link.link} | {result} | {link.identical_summaries} of {link.documents} | {link.ties} | "
        f"{link.token_agreement:.2%} | {_number(link.max_abs_logit_difference)} | "
        f"{_number(link.mean_abs_logit_difference)} |"
    )


def _section(link: Link) -> list[str]:
    """Paragraphs on one link: limits, ROUGE, reasons for failing, and summaries that differ."""
    report, (left, right) = link.report, link.outputs
    limits = f"a ROUGE difference of {report.rouge_tolerance} points, its interval within ±{report.rouge_interval}"
    if report.tolerance is not None:
        limits = f"the same summaries, and logits within {report.tolerance:.0e}"
    rows = "\n".join(
        f"| {kind} | {report.rouge[0][kind]:.3f} | {report.rouge[1][kind]:.3f} | {report.delta[kind]:+.3f} | "
        f"[{report.delta_ci95[kind][0]:+.3f}, {report.delta_ci95[kind][1]:+.3f}] |"
        for kind in KINDS
    )
    header = f"| ROUGE | {link.left} | {link.right} | difference | 95% interval |\n|---|---|---|---|---|"
    parts = [f"## {report.link}", f"Allowed: {limits}.", f"{header}\n{rows}"]
    if report.max_abs_score_difference is not None:
        parts.append(f"Scores of sentences that both chose: within {report.max_abs_score_difference:.1e}.")
    parts += [f"Failed: {reason}." for reason in report.reasons]
    return parts + [
        f"Document {number}:\n- {link.left}: {left.texts[number]}\n- {link.right}: {right.texts[number]}"
        for number in link.differing[:EXAMPLES]
    ]


def _scores(link: LinkReport) -> str:
    if "max_abs_score_difference" not in link.model_fields_set:
        return ""
    return f"sentences' scores within {_number(link.max_abs_score_difference)}, "


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"


def _figure(links: list[Link], overall: Link, path: Path) -> None:
    """Writes a scatter plot of ROUGE by document, and the distribution of each link's logit differences."""
    figure, (scatter, distribution) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for kind in ("rouge1", "rougeL"):
        scatter.scatter(overall.rouge[0][kind], overall.rouge[1][kind], s=10, label=kind, alpha=0.6)
    top = 5 + max(float(np.max(values["rouge1"])) for values in overall.rouge)
    scatter.plot([0, top], [0, top], color="grey", linewidth=0.8, zorder=0)
    scatter.set(xlabel=overall.left, ylabel=overall.right, title="ROUGE of each document", xlim=(0, top), ylim=(0, top))
    scatter.legend()
    for link in links:
        distribution.stairs(link.histogram / link.histogram.sum(), EDGES, label=link.report.link)
    distribution.set(xscale="log", xlabel="difference", ylabel="share of all logits", title="Logits, same tokens fed")
    distribution.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
