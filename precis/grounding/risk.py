"""The risk of a written summary, and how far it can be trusted by the certificate of its bundle (docs/trust.md)."""

import math

from precis.bundle.reports import TrustCertificate
from precis.grounding.evidence import Evidence
from precis.request import Summary

MAX_COUNT = 3  # more seams, new words or unsupported spans than that add nothing


def features(summary: Summary, evidence: Evidence) -> dict[str, float]:
    """What the risk of a generated summary is computed from."""
    assert summary.score is not None
    assert summary.min_token_score is not None
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


def trust(certificate: TrustCertificate, summary: Summary, evidence: Evidence) -> float:
    """1 minus the smallest certified share of wrong summaries among whose released ones this summary is; 0 if none.

    Of the summaries with a trust of at least 1 - a, at most the share a is wrong.
    """
    own = risk(certificate.weights, certificate.bias, features(summary, evidence))
    shares = [level.alpha for level in certificate.levels if level.max_risk is not None and own <= level.max_risk]
    return round(1 - min(shares), 4) if shares else 0.0
