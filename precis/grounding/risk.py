"""The risk of a summary, and how far it can be trusted by the certificate of its bundle (docs/trust.md)."""

import math

from precis.bundle.reports import TrustCertificate
from precis.grounding.evidence import Evidence
from precis.request import Summary

MAX_COUNT = 3  # more seams, new words or unsupported spans than that add nothing


def features(summary: Summary, evidence: Evidence | None) -> dict[str, float] | None:
    """What the risk of a summary is computed from; None for a text that is its own summary.

    That of a written summary needs its evidence, that of an extracted one does not.
    """
    if summary.margin is not None:
        return {"margin": summary.margin}
    if summary.score is None or summary.min_token_score is None or evidence is None:
        return None
    grounding = evidence.grounding
    return {
        "score": summary.score,
        "min_token_score": summary.min_token_score,
        "seams": min(len(grounding.seams), MAX_COUNT),
        "novel": min(len(grounding.novel), MAX_COUNT),
        "unsupported": min(len(evidence.unsupported), MAX_COUNT),
    }


def risk(weights: dict[str, float], bias: float, values: dict[str, float]) -> float:
    """A logistic regression's estimate, 0 to 1, of how probably a summary with these features is wrong."""
    return (1 + math.tanh((bias + sum(weights[name] * value for name, value in values.items())) / 2)) / 2


def trust(certificate: TrustCertificate, values: dict[str, float]) -> float:
    """1 minus the smallest certified share of wrong summaries among whose released ones this summary is; 0 if none.

    `values` are its features. Of the summaries with a trust of at least 1 - a, at most the share a is wrong.
    """
    own = risk(certificate.weights, certificate.bias, values)
    shares = [level.alpha for level in certificate.levels if level.max_risk is not None and own <= level.max_risk]
    return round(1 - min(shares), 4) if shares else 0.0
