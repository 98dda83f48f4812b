"""The parity report that a person reads: parity.md with its picture."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from export.parity import Parity
from finetune.files import write_text
from finetune.rouge import KINDS


def write_report(parity: Parity, title: str, folder: Path) -> None:
    """Writes parity.md and parity.png into `folder`."""
    report = parity.report
    rows = "\n".join(
        f"| {kind} | {report['pytorch'][kind]:.3f} | {report['onnx'][kind]:.3f} | {report['delta'][kind]:+.3f} | "
        f"[{report['delta_ci95'][kind][0]:+.3f}, {report['delta_ci95'][kind][1]:+.3f}] |"
        for kind in KINDS
    )
    verdict = "**Passed.**" if report["passed"] else "**Failed.**"
    write_text(
        folder / "parity.md",
        f"""# Parity of {title}: PyTorch `generate` against the engine on the ONNX bundle

{verdict} {report["identical_summaries"]} of {report["documents"]} summaries are identical token for token; \
{report["ties"]} differ from a step where PyTorch's two best scores lie within 0.0001.
Fed the same tokens, the logits differ by at most {report["max_abs_logit_difference"]:.2e} \
(mean {report["mean_abs_logit_difference"]:.2e}; allowed {report["tolerance"]:.0e}).

| ROUGE F1 | PyTorch | ONNX | difference | 95% interval |
|---|---|---|---|---|
{rows}

![ROUGE-L of each document under both](parity.png)
""",
    )
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    for kind, colour in zip(("rouge1", "rougeL"), ("C0", "C1"), strict=True):
        axes.scatter(
            parity.rouge["pytorch"][kind], parity.rouge["onnx"][kind], s=10, color=colour, label=kind, alpha=0.6
        )
    top = 5 + max(float(np.max(values["rouge1"])) for values in parity.rouge.values())
    axes.plot([0, top], [0, top], color="grey", linewidth=0.8, zorder=0)
    axes.set(xlabel="PyTorch", ylabel="ONNX", title="ROUGE of each document", xlim=(0, top), ylim=(0, top))
    axes.legend()
    figure.savefig(folder / "parity.png", dpi=120)
    plt.close(figure)
