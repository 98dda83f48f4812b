"""The parity report: parity.json's content, and parity.md with its picture for people."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from export.parity.comparison import EDGES, Link, documents
from finetune.evaluation.rouge import KINDS
from finetune.files import write_text

EXAMPLES = 5


def write_report(links: list[Link], overall: Link, title: str, folder: Path) -> dict:
    """Writes parity.md and parity.png into `folder` and returns what parity.json holds.

    `links` are the chain from the first system to the one that is served; `overall` is PyTorch beside that one.
    """
    report = {
        "documents": overall.report["documents"],
        "pytorch": overall.report["rouge"][0],
        "onnx": overall.report["rouge"][1],
        **{
            key: overall.report[key]
            for key in (
                "delta",
                "delta_ci95",
                "identical_summaries",
                "ties",
                "token_agreement",
                "max_abs_logit_difference",
                "mean_abs_logit_difference",
            )
        },
        **{key: links[-1].report[key] for key in LIMITS if key in links[-1].report},
        "passed": all(link.passed for link in links),
        "links": [link.report for link in links],
    }
    write_text(folder / "parity.md", _markdown(report, links, title))
    _picture(links, overall, folder / "parity.png")
    return report


LIMITS = ("tolerance", "rouge_tolerance", "rouge_interval")


def explain(links: list[Link], place: Path) -> str:
    """One sentence on the first link that is broken."""
    broken = next(link for link in links if not link.passed)
    reasons = broken.report["reasons"]
    named = (
        ""
        if any("documents" in reason for reason in reasons) or not broken.differing
        else (f" (most on {documents(broken.differing)})")
    )
    return f"Parity failed at {broken.title}, no bundle was written: {' and '.join(reasons)}{named}; see {place}."


def summarize(links: list[Link]) -> str:
    """A line for each link that holds."""
    return "\n".join(
        f"{link.title}: {link.report['identical_summaries']} of {link.report['documents']} summaries identical, "
        f"{link.report['ties']} ties, {link.report['token_agreement']:.2%} of the tokens, "
        f"logits within {link.report['max_abs_logit_difference']:.1e}, "
        f"ROUGE-L {link.report['rouge'][1]['rougeL']:.2f} ({link.report['delta']['rougeL']:+.2f})"
        for link in links
    )


def _markdown(report: dict, links: list[Link], title: str) -> str:
    verdict = "**Passed.**" if report["passed"] else "**Failed.**"
    parts = [
        f"# Parity of {title}\n\n{verdict} Each link compares two neighbours on the way from PyTorch to what is served."
    ]
    rows = [
        f"| {link.title} | {'holds' if link.passed else '**broken**'} | {each['identical_summaries']} of "
        f"{each['documents']} | {each['ties']} | {each['token_agreement']:.2%} | "
        f"{_number(each['max_abs_logit_difference'])} | {_number(each['mean_abs_logit_difference'])} |"
        for link in links
        for each in (link.report,)
    ]
    parts.append(
        "| link | | identical summaries | ties | same next token | largest logit difference | mean |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )
    parts.append(
        "A tie is a summary that differs only from a step where PyTorch's two best scores lie within 0.0001. "
        "Tokens and logits are compared where both are fed the same summary."
    )
    for link in links:
        each = link.report
        rows = "\n".join(
            f"| {kind} | {each['rouge'][0][kind]:.3f} | {each['rouge'][1][kind]:.3f} | {each['delta'][kind]:+.3f} | "
            f"[{each['delta_ci95'][kind][0]:+.3f}, {each['delta_ci95'][kind][1]:+.3f}] |"
            for kind in KINDS
        )
        allowed = (
            f"Allowed: the same summaries, logits within {each['tolerance']:.0e}."
            if "tolerance" in each
            else f"Allowed: a ROUGE difference of {each['rouge_tolerance']:.2f} points, its 95% interval (paired "
            f"bootstrap over documents) within ±{each['rouge_interval']:.2f}."
        )
        parts.append(
            f"## {link.title}\n\n{allowed}\n\n| ROUGE F1 | {link.left} | {link.right} | difference | 95% interval |\n"
            f"|---|---|---|---|---|\n{rows}"
        )
        if each["reasons"]:
            parts.append("Broken: " + "; ".join(each["reasons"]) + ".")
        left, right = link.said
        parts += [
            f"Document {number}:\n- {link.left}: {left.texts[number]}\n- {link.right}: {right.texts[number]}"
            for number in link.differing[:EXAMPLES]
        ]
    parts.append("![ROUGE of each document under both, and the differences of all logits](parity.png)")
    return "\n\n".join(parts) + "\n"


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2e}"


def _picture(links: list[Link], overall: Link, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for kind, colour in zip(("rouge1", "rougeL"), ("C0", "C1"), strict=True):
        left.scatter(overall.rouge[0][kind], overall.rouge[1][kind], s=10, color=colour, label=kind, alpha=0.6)
    top = 5 + max(float(np.max(values["rouge1"])) for values in overall.rouge)
    left.plot([0, top], [0, top], color="grey", linewidth=0.8, zorder=0)
    left.set(xlabel=overall.left, ylabel=overall.right, title="ROUGE of each document", xlim=(0, top), ylim=(0, top))
    left.legend()
    for link in links:
        right.stairs(link.histogram / link.histogram.sum(), EDGES, label=link.title)
    right.set(
        xscale="log", xlabel="absolute difference", ylabel="share of all logits", title="Logits, fed the same tokens"
    )
    right.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
