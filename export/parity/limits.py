"""When two systems count as equal: the limits of exact links and of lossy ones (int8 and fp16), and their failures."""

from finetune.evaluation.rouge import KINDS
from finetune.recipe import Export
from precis.bundle.reports import LinkReport
from precis.extraction import SCORE_DIGITS

# Limits of a lossy link beside those of ROUGE, which may be near 0 on both sides and then passes any weights. Measured
# on the same tokens: share of equal next tokens, and divergence in nats a token.
#   int8: embedded model 0.995 and 0.0029, models/base 0.989 and 0.0053, random gated T5 (the worst) 0.917 and 0.0129
#   wrong: embedded model without its adapter 0.98 and 0.033, one encoder layer's values replaced by noise 0.11 and 6.9,
#          every weight off by 10% 0.98 and 0.095, all weights noise 0.00 and 12 (random T5s 0.00 to 0.17 and 1.0 to 21)
# The bound on the divergence is halfway, by factors, between the worst right and the best wrong one.
MIN_TOKEN_AGREEMENT = 0.85
MAX_DIVERGENCE = 0.02
# Share of documents from which both extract the same sentences: int8 0.87 to 0.94 by probability, 0.96 by the sentence
# ranker; the embedded model without its adapter 0.67.
MIN_SAME_SENTENCES = 0.75

# Largest difference of sentences' scores in an exact link, as a share of the largest score: log-probabilities or a
# linear model's scores, whose size is not that of the logits. Measured: fp32 7e-5 to 3e-4, most of it by the engine's
# rounding to six digits; int8 0.18 to 0.55.
SCORE_TOLERANCE = 1e-3

NOT_FINITE = "some logits are NaN or infinite"
SCORES_NOT_FINITE = "some sentences' scores are NaN or infinite"
LISTED_DOCUMENTS = 10  # documents that a report or a message names


def exact_limits(export: Export) -> dict[str, float]:
    """The limits of two systems that have to agree exactly, by their names in parity.json."""
    return {"tolerance": export.tolerance}


def lossy_limits(export: Export, extracts: bool) -> dict[str, float]:
    """The limits of a system in int8 or fp16, by their names in parity.json; `extracts`: for sentences too."""
    limits = {
        "rouge_tolerance": export.rouge_tolerance,
        "rouge_interval": export.rouge_interval,
        "min_token_agreement": MIN_TOKEN_AGREEMENT,
        "max_divergence": MAX_DIVERGENCE,
    }
    return {**limits, "min_same_sentences": MIN_SAME_SENTENCES} if extracts else limits


def exact_failures(report: LinkReport, differing: list[int], export: Export) -> list[str]:
    """Why two systems that have to agree exactly do not, in words; empty if they do."""
    reasons = []
    if differing:
        reasons.append(f"{len(differing)} of {report.documents} summaries differ ({list_documents(differing)})")
    if report.max_abs_logit_difference is None or report.max_logit is None:
        return [*reasons, NOT_FINITE]
    allowed = export.tolerance * report.max_logit
    if report.max_abs_logit_difference > allowed:
        reasons.append(
            f"logits differ by {report.max_abs_logit_difference:.2e}, allowed {allowed:.2e} ({export.tolerance:.0e} of "
            f"the largest, {report.max_logit:.3g})"
        )
    if "max_abs_score_difference" in report.model_fields_set:
        reasons += _score_failures(report)
    return reasons


def lossy_failures(report: LinkReport, export: Export) -> list[str]:
    """Why a system in int8 or fp16 is not equal to its reference within the limits, in words; empty if it is."""
    reasons = []
    if report.max_abs_logit_difference is None or report.divergence is None:
        return [NOT_FINITE]
    if report.divergence > MAX_DIVERGENCE:
        reasons.append(
            f"the next tokens' distributions diverge by {report.divergence:.3g} nats, allowed {MAX_DIVERGENCE}"
        )
    if report.token_agreement < MIN_TOKEN_AGREEMENT:
        reasons.append(
            f"{report.token_agreement:.1%} of next tokens are equal, at least {MIN_TOKEN_AGREEMENT:.0%} have to be"
        )
    if report.min_same_sentences is not None:
        if report.max_abs_score_difference is None:
            reasons.append(SCORES_NOT_FINITE)
        same = report.identical_summaries / report.documents
        if same < report.min_same_sentences:
            reasons.append(f"{same:.1%} of extractions are equal, at least {report.min_same_sentences:.0%} have to be")
    return reasons + _rouge_failures(report, export)


def has_rouge(report: LinkReport) -> bool:
    """Whether ROUGE is above 0 on any document; else it compares nothing, and tokens and divergence alone decide."""
    return any(scores[kind] for scores in report.rouge for kind in KINDS)


def list_documents(numbers: list[int]) -> str:
    """The first few document numbers, for a sentence."""
    more = ", ..." if len(numbers) > LISTED_DOCUMENTS else ""
    return f"documents {', '.join(map(str, numbers[:LISTED_DOCUMENTS]))}{more}"


def _score_failures(report: LinkReport) -> list[str]:
    """Of two systems that have to agree exactly: why the scores of the sentences that both extract do not."""
    if report.max_abs_score_difference is None or report.max_score is None:
        return [SCORES_NOT_FINITE]
    allowed = SCORE_TOLERANCE * report.max_score + 10**-SCORE_DIGITS
    if report.max_abs_score_difference <= allowed:
        return []
    return [f"sentences' scores differ by {report.max_abs_score_difference:.2e}, allowed {allowed:.2e}"]


def _rouge_failures(report: LinkReport, export: Export) -> list[str]:
    reasons = []
    for kind in KINDS:
        mean, (low, high) = report.delta[kind], report.delta_ci95[kind]
        if abs(mean) > export.rouge_tolerance:
            reasons.append(f"{kind} differs by {mean:+.2f} points, allowed {export.rouge_tolerance:.2f}")
        if max(-low, high) > export.rouge_interval:
            reasons.append(
                f"the 95% interval of {kind}'s difference, [{low:+.2f}, {high:+.2f}], is not within "
                f"±{export.rouge_interval:.2f}"
            )
    return reasons
