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


class LinkReport(Record):
    """One link of the parity chain: two systems compared on the same documents.

    `rouge` holds the left and the right system's scores by metric, `delta` right minus left, both in points.
    Logit differences are absolute, beside the largest logit; None stands for a number that is not finite. `divergence`
    is that of the next token's distribution, in nats a token. Of extractions there are also the largest score of the
    sentences that both systems chose, and the largest difference of such scores. `tolerance` is relative to the
    largest logit.
    """

    link: str
    documents: int
    logit_documents: int
    identical_summaries: int
    ties: int
    token_agreement: float
    max_abs_logit_difference: float | None
    mean_abs_logit_difference: float | None
    max_logit: float | None = None
    divergence: float | None = None
    max_abs_score_difference: float | None = None
    max_score: float | None = None
    rouge: tuple[dict[str, float], dict[str, float]]
    delta: dict[str, float]
    delta_ci95: dict[str, Interval]
    tolerance: float | None = None
    rouge_tolerance: float | None = None
    rouge_interval: float | None = None
    min_token_agreement: float | None = None
    max_divergence: float | None = None
    min_same_sentences: float | None = None
    differing: list[int] = []
    reasons: list[str] = []
    passed: bool


class ParityReport(Record):
    """parity.json: the bundle that is served compared with PyTorch, and the links of the chain between them."""

    documents: int
    identical_summaries: int
    ties: int = 0
    token_agreement: float | None = None
    max_abs_logit_difference: float | None = None
    mean_abs_logit_difference: float | None = None
    max_logit: float | None = None
    divergence: float | None = None
    max_abs_score_difference: float | None = None
    max_score: float | None = None
    pytorch: dict[str, float] = {}
    onnx: dict[str, float] = {}
    delta: dict[str, float] = {}
    delta_ci95: dict[str, Interval] = {}
    tolerance: float | None = None
    rouge_tolerance: float | None = None
    rouge_interval: float | None = None
    min_token_agreement: float | None = None
    max_divergence: float | None = None
    min_same_sentences: float | None = None
    passed: bool
    links: list[LinkReport] = []
