"""Makes a bundle's certificate of trust from validation pairs that it summarizes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from export.trust import labels
from export.trust.check import CHECK, wrong_summaries
from export.trust.labels import JudgedSummary
from export.trust.thresholds import Floats, certified_threshold, grid
from precis import Engine, GenerationParams, Summary
from precis.bundle.reports import TrustCertificate, TrustLevel
from precis.grounding.evidence import Evidence, find_evidence
from precis.grounding.risk import features, risk

MAX_PAIRS = 500  # to be summarized; more would take long
MIN_PAIRS = 60  # fewer prove nothing
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
CONFIDENCE = 0.9
FITTED = 3  # every third pair is for the risk, the others for its thresholds
PENALTY = 1.0  # of the regression's squared weights, as scikit-learn's default
# The sign of each feature: of written summaries, and of extracted ones.
RISKIER = {"score": -1, "min_token_score": -1, "seams": 1, "novel": 1, "unsupported": 1, "margin": -1}
METHOD = "Learn-then-Test (Angelopoulos et al. 2021), exact binomial p-values, fixed sequences from several starts"

Mode = Literal["write", "extract"]
Values = list[dict[str, float]]
Verdicts = npt.NDArray[np.bool_]


def certify(
    engine: Engine, documents: list[str], references: list[str], mode: Mode, judged: Sequence[JudgedSummary] = ()
) -> TrustCertificate | None:
    """The certificate of what `engine` makes in `mode` by its bundle's parameters; None if there are too few pairs.

    It rests on the `judged` summaries if enough of them are those that the engine makes, else on CHECK.
    """
    if len(judged) >= MIN_PAIRS:
        values, wrong = measure_judged(engine, judged, mode)
        if len(values) >= MIN_PAIRS:
            return calibrate(values, wrong, mode, labels.CHECK)
    if len(documents) < MIN_PAIRS:
        return None
    values, wrong = measure(engine, documents, references, mode)
    return calibrate(values, wrong, mode) if len(values) >= MIN_PAIRS else None


def measure(engine: Engine, documents: list[str], references: list[str], mode: Mode) -> tuple[Values, Verdicts]:
    """The features of each summary that `engine` makes of `documents` in `mode`, and whether it is wrong by CHECK.

    Left out are texts that are their own summaries.
    """
    summaries, evidence = _summaries(engine, documents, mode)
    wrong = wrong_summaries(documents, [summary.text for summary in summaries], references, evidence)
    return _with_features(summaries, evidence, wrong)


def measure_judged(engine: Engine, judged: Sequence[JudgedSummary], mode: Mode) -> tuple[Values, Verdicts]:
    """As `measure`, by the verdicts on those summaries that are, but for white space, what `engine` makes."""
    summaries, evidence = _summaries(engine, [item.document for item in judged], mode)
    rows = zip(summaries, evidence, judged, strict=True)
    same = [row for row in rows if row[0].text.split() == row[2].summary.split()]
    wrong = np.array([not item.is_right for _, _, item in same], dtype=bool)
    return _with_features([row[0] for row in same], [row[1] for row in same], wrong)


def _summaries(engine: Engine, documents: list[str], mode: Mode) -> tuple[list[Summary], list[Evidence]]:
    summaries = engine.generate(documents, GenerationParams(mode=mode))
    texts = [summary.text for summary in summaries]
    return summaries, list(map(find_evidence, documents, texts))


def _with_features(summaries: list[Summary], evidence: list[Evidence], wrong: Verdicts) -> tuple[Values, Verdicts]:
    values = list(map(features, summaries, evidence))
    own = [i for i, value in enumerate(values) if value is not None]
    return [value for value in values if value is not None], wrong[own]


def calibrate(values: Values, wrong: Verdicts, mode: Mode, check: str = CHECK) -> TrustCertificate:
    """The certificate from the features of summaries and whether each is wrong by `check`, (pairs,)."""
    fitted = np.arange(len(values)) % FITTED == 0
    names = list(values[0])
    signs = np.array([RISKIER[name] for name in names])
    table = np.array([[value[name] for name in names] for value in values])
    weights, bias = fit_logistic(signs * table[fitted], wrong[fitted])
    by_name = dict(zip(names, (signs * weights).tolist(), strict=True))
    risks = np.array([risk(by_name, bias, value) for value in values])
    thresholds = grid(risks[fitted])
    risks, wrong = risks[~fitted], wrong[~fitted]
    return TrustCertificate(
        mode=mode,
        check=check,
        method=METHOD,
        confidence=CONFIDENCE,
        fitted_pairs=int(fitted.sum()),
        calibration_pairs=len(risks),
        wrong=round(float(wrong.mean()), 4),
        weights=by_name,
        bias=bias,
        levels=_levels(thresholds, risks, wrong),
        curve=[_released(threshold, risks, wrong) for threshold in thresholds if (risks <= threshold).any()],
    )


def _levels(thresholds: list[float], risks: Floats, wrong: Verdicts) -> list[TrustLevel]:
    levels, largest = [], -1.0
    for alpha in ALPHAS:
        certified = certified_threshold(thresholds, risks, wrong, alpha, CONFIDENCE)
        largest = max(largest, -1.0 if certified is None else certified)  # what holds for less holds for more
        if largest < 0:
            levels.append(TrustLevel(alpha=alpha, max_risk=None, released=0.0, wrong=None))
        else:
            released, share = _released(largest, risks, wrong)
            levels.append(TrustLevel(alpha=alpha, max_risk=largest, released=released, wrong=share))
    return levels


def _released(threshold: float, risks: Floats, wrong: Verdicts) -> tuple[float, float]:
    """The share of summaries at or below the threshold, and the share of wrong ones among them."""
    released = risks <= threshold
    return round(float(released.mean()), 4), round(float(wrong[released].mean()), 4)


def fit_logistic(table: Floats, wrong: Verdicts) -> tuple[Floats, float]:
    """Weights (features,), none below zero, and bias of an L2-penalized logistic regression of `wrong` (pairs,).

    `table` (pairs, features) has what makes a summary riskier: few pairs would otherwise give some of it the wrong sign
    by chance. The penalty is on the weights of standardized features; what is returned is for the features as they are.
    """
    mean, deviation = table.mean(axis=0), table.std(axis=0)
    deviation[deviation == 0] = 1.0
    inputs = torch.tensor((table - mean) / deviation)
    targets = torch.tensor(wrong, dtype=torch.float64)
    roots = torch.full((inputs.shape[1] + 1,), 0.5, dtype=torch.float64, requires_grad=True)  # of the weights
    optimizer = torch.optim.LBFGS([roots], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        weights = roots[:-1] ** 2
        logits = inputs @ weights + roots[-1]
        likelihood = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        total = likelihood + PENALTY / 2 * (weights**2).sum()
        total.backward()
        return total

    optimizer.step(loss)
    fitted = roots.detach().numpy()
    weights = fitted[:-1] ** 2 / deviation
    return weights, float(fitted[-1] - weights @ mean)
