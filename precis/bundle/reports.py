"""The typed content of rouge.json and parity.json, which the manifest repeats and the page shows."""

from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class Record(BaseModel):
    """A JSON object on disk. Unknown keys are kept, so that what is read can be written back."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Scores(Record):
    """ROUGE F1 of one system in points (0 to 100), with 95% bootstrap intervals by metric."""

    rouge1: float
    rouge2: float
    rougeL: float
    rougeLsum: float
    ci95: dict[str, Interval] = {}


class RougeReport(Record):
    """rouge.json: the lead sentence, the base and the fine-tuned model on the same validation documents."""

    split: str | None = None
    documents: int | None = None
    generation: dict[str, object] = {}
    lead: Scores | None = None
    base: Scores | None = None
    finetuned: Scores | None = None
    paired_difference_ci95: dict[str, Interval] = {}


class TrustLevel(Record):
    """Released are summaries whose risk is at most `max_risk`: of those at most the share `alpha` is wrong.

    `released` and `wrong` are shares of the calibration pairs, the latter of those released. `max_risk` is None where
    no threshold passed the test.
    """

    alpha: float
    max_risk: float | None
    released: float
    wrong: float | None


class TrustCertificate(Record):
    """How far the bundle's written summaries can be trusted: a risk, and a tested threshold of it for each level.

    The risk is a logistic regression with `weights` by feature and a `bias`. Each level holds with the given
    `confidence` over the choice of calibration pairs. `wrong` is the share of wrong summaries among all of them, and
    `curve` has (share released, share of those wrong) by growing risk.
    """

    mode: str
    check: str
    method: str
    confidence: float
    fitted_pairs: int
    calibration_pairs: int
    wrong: float
    weights: dict[str, float]
    bias: float
    levels: list[TrustLevel]
    curve: list[tuple[float, float]]


class ComparisonReport(Record):
    """What the reports of a link and of the chain both state: the largest values compared, and the bounds.

    Of extractions there are the largest score of the sentences that both systems chose, and the largest difference of
    such scores. `divergence` is that of the next token's distribution, in nats a token. `tolerance` is relative to the
    largest logit.
    """

    identical_summaries: int
    ties: int = 0
    max_logit: float | None = None
    divergence: float | None = None
    max_abs_score_difference: float | None = None
    max_score: float | None = None
    tolerance: float | None = None
    rouge_tolerance: float | None = None
    rouge_interval: float | None = None
    min_token_agreement: float | None = None
    max_divergence: float | None = None
    min_same_sentences: float | None = None
    passed: bool


class LinkReport(ComparisonReport):
    """One link of the parity chain: two systems compared on the same documents.

    `rouge` holds the left and the right system's scores by metric, `delta` right minus left, both in points.
    Logit differences are absolute, beside the largest logit; None stands for a number that is not finite.
    """

    link: str
    documents: int
    logit_documents: int
    token_agreement: float
    max_abs_logit_difference: float | None
    mean_abs_logit_difference: float | None
    rouge: tuple[dict[str, float], dict[str, float]]
    delta: dict[str, float]
    delta_ci95: dict[str, Interval]
    differing: list[int] = []
    reasons: list[str] = []


class ParityReport(ComparisonReport):
    """parity.json: the bundle that is served compared with PyTorch, and the links of the chain between them."""

    documents: int
    token_agreement: float | None = None
    max_abs_logit_difference: float | None = None
    mean_abs_logit_difference: float | None = None
    pytorch: dict[str, float] = {}
    onnx: dict[str, float] = {}
    delta: dict[str, float] = {}
    delta_ci95: dict[str, Interval] = {}
    links: list[LinkReport] = []
