"""What is stated of a summary beside it: its evidence, and how far it can be trusted."""

from collections.abc import Callable
from dataclasses import dataclass

from precis.bundle.reports import TrustCertificate
from precis.grounding.evidence import Evidence, find_evidence
from precis.grounding.risk import features, trust
from precis.params import GenerationParams
from precis.request import Summary


@dataclass(frozen=True)
class Assessment:
    """The evidence of a summary, if it was asked for, and its trust (`risk.trust`), if a certificate covers it."""

    evidence: Evidence | None = None
    trust: float | None = None

    def is_below(self, min_trust: float | None) -> bool:
        """Whether the summary has less than the least trust; never where nothing is stated."""
        return min_trust is not None and self.trust is not None and self.trust < min_trust

    def reason(self, min_trust: float | None) -> str:
        """Why a summary with this trust is not answered, in a sentence."""
        return f"The summary has a trust of {self.trust:g}, and min_trust is {min_trust:g}."


def assess(
    text: str,
    summary: Summary,
    certificate: TrustCertificate | None,
    wants_evidence: bool,
    check: Callable[[], None] = lambda: None,
) -> Assessment:
    """The assessment of the summary of `text` by the `certificate` that covers it, if there is one.

    A text that is its own summary has no trust. `check` is called now and then while evidence is searched; what it
    raises ends that.
    """
    evidence = None
    if needs_evidence(summary, certificate, wants_evidence):
        evidence = find_evidence(text, summary.text, check)
    values = features(summary, evidence)
    own_trust = trust(certificate, values) if certificate and values else None
    return Assessment(evidence if wants_evidence else None, own_trust)


def needs_evidence(summary: Summary, certificate: TrustCertificate | None, wants_evidence: bool) -> bool:
    """Whether `assess` searches for evidence, which takes time linear in the text."""
    return wants_evidence or (certificate is not None and summary.score is not None)


def fallback_params(params: GenerationParams) -> GenerationParams:
    """How a text is summarized whose summary by `params` is below the least trust: by its best sentence."""
    return GenerationParams(mode="extract", sentences=1, passthrough=params.passthrough)
