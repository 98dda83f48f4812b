"""The parity report: the content of parity.json, and parity.md with its figure for people."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from export.parity.comparison import Link
from export.parity.limits import exact_limits, has_rouge, list_documents, lossy_limits
from export.parity.ties import TIE
from finetune.evaluation.logit_difference import EDGES
from finetune.evaluation.rouge import KINDS, TOKENIZATION
from finetune.files import write_text
from finetune.recipe import Export
from precis.bundle.reports import LinkReport, ParityReport

EXAMPLES = 5  # differing summaries that parity.md shows for each link
NO_ROUGE = "ROUGE is 0 for both on every document and compares nothing"
INTRODUCTION = """Each row compares two steps of the conversion, from the model in PyTorch to the exported one.

| compared | result | identical summaries | ties | same next token | divergence | logits apart | mean | largest logit |
|---|---|---|---|---|---|---|---|---|
{rows}

A tie is a summary that differs only where PyTorch's scores leave open which one is better: of two tokens within
{tie} nats, of two summaries or sentences within {tie} of their size. Next tokens, logits and the divergence of the
next token's distribution (Kullback-Leibler, in nats) are compared while both models are fed the same summary. ROUGE is
F1 in points, with the 95% interval of the difference (paired bootstrap over documents). {tokens}

![ROUGE of each document under both models, and the distribution of logit differences](parity.png)"""


def write_report(links: list[Link], overall: Link, title: str, folder: Path) -> ParityReport:
    """Writes parity.md and parity.png into `folder` and returns the content of parity.json.

    `links` lead from the first PyTorch model to the exported one; `overall` compares PyTorch with the exported model
    directly.
    """
    limits = {*exact_limits(Export()), *lossy_limits(Export(), extracts=True)}
    shared = set(ParityReport.model_fields) & set(LinkReport.model_fields) - limits - {"passed"}
    report = ParityReport.model_validate(
        {
            **overall.report.model_dump(include=shared, exclude_unset=True),
            **links[-1].report.model_dump(include=limits, exclude_unset=True),
            "pytorch": overall.report.rouge[0],
            "onnx": overall.report.rouge[1],
            "passed": all(link.report.passed for link in links),
            "links": [link.report for link in links],
        }
    )
    verdict = "**Passed.**" if report.passed else "**Failed.**"
    rows = "\n".join(_row(link.report) for link in links)
    introduction = INTRODUCTION.format(rows=rows, tie=TIE, tokens=TOKENIZATION)
    parts = [f"# Parity of {title}", f"{verdict} {introduction}"]
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
        f"{link.token_agreement:.2%} of next tokens equal, logits within {_number(link.max_abs_logit_difference)} of "
        f"{_number(link.max_logit)}, divergence {_number(link.divergence)}, "
        f"{_scores(link)}ROUGE-L {link.rouge[1]['rougeL']:.2f} ({link.delta['rougeL']:+.2f})"
        f"{'' if has_rouge(link) else f'; {NO_ROUGE}'}"
        for link in (link.report for link in links)
    )


def _row(link: LinkReport) -> str:
    result = "passed" if link.passed else "**failed**"
    return (
        f"| {link.link} | {result} | {link.identical_summaries} of {link.documents} | {link.ties} | "
        f"{link.token_agreement:.2%} | {_number(link.divergence)} | {_number(link.max_abs_logit_difference)} | "
        f"{_number(link.mean_abs_logit_difference)} | {_number(link.max_logit)} |"
    )


def _section(link: Link) -> list[str]:
    """Paragraphs on one link: limits, ROUGE, reasons for failing, and summaries that differ."""
    report, (left, right) = link.report, link.outputs
    rows = "\n".join(
        f"| {kind} | {report.rouge[0][kind]:.3f} | {report.rouge[1][kind]:.3f} | {report.delta[kind]:+.3f} | "
        f"[{report.delta_ci95[kind][0]:+.3f}, {report.delta_ci95[kind][1]:+.3f}] |"
        for kind in KINDS
    )
    header = f"| ROUGE | {link.left} | {link.right} | difference | 95% interval |\n|---|---|---|---|---|"
    parts = [f"## {report.link}", f"Allowed: {_limits(report)}.", f"{header}\n{rows}"]
    if report.max_abs_score_difference is not None:
        parts.append(
            f"Scores of sentences that both chose: within {report.max_abs_score_difference:.1e}, the largest is "
            f"{_number(report.max_score)}."
        )
    if not has_rouge(report):
        parts.append(f"{NO_ROUGE}.")
    parts += [f"Failed: {reason}." for reason in report.reasons]
    return parts + [
        f"Document {number}:\n- {link.left}: {left.texts[number]}\n- {link.right}: {right.texts[number]}"
        for number in link.differing[:EXAMPLES]
    ]


def _limits(report: LinkReport) -> str:
    if report.tolerance is not None:
        return f"the same summaries, and logits within {report.tolerance:.0e} of the largest"
    sentences = "" if report.min_same_sentences is None else f"{report.min_same_sentences:.0%} equal extractions, "
    return (
        f"at least {sentences}{report.min_token_agreement:.0%} equal next tokens; a divergence of "
        f"{report.max_divergence} nats; a ROUGE difference of {report.rouge_tolerance} points, its interval within "
        f"±{report.rouge_interval}"
    )


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
