"""The typed manifest of a bundle, and the hash that binds it to the bundle's files."""

import hashlib
from pathlib import Path

from pydantic import Field, FiniteFloat, ValidationError, field_validator

from precis.bundle.reports import ParityReport, Record, RougeReport, TrustCertificate
from precis.errors import BundleError
from precis.text.sentence_features import FEATURES

FORMAT = 5
MAX_INPUT_TOKENS = 1 << 15  # of one sequence; rows of the KV cache are made for so many


class BaseModelSource(Record):
    """The pre-trained model: its name, and the hub's commit or the SHA-256 of a local folder's weights."""

    name: str | None = None
    revision: str | None = None
    sha256: str | None = None


class DataSource(Record):
    """The training data: a hub data set with its commit, or files with their SHA-256, and how many pairs were used."""

    name: str | None = None
    revision: str | None = None
    commit: str | None = None
    train: str | None = None
    validation: str | None = None
    train_sha256: str | None = None
    validation_sha256: str | None = None
    train_pairs: int | None = None
    validation_pairs: int | None = None


class Manifest(Record):
    """manifest.json: how the bundle runs, where it comes from, how it was proved, and the SHA-256 of every file."""

    format: int
    prefix: str
    max_input_tokens: int = Field(ge=16, le=MAX_INPUT_TOKENS)
    checks_language: bool = True  # whether texts in unknown languages are flagged; not if the own data would be
    files: dict[str, str]
    clean_up_tokenization_spaces: bool = False  # of the tokenizer: no space before a full stop and others
    # Weights of the sentence ranker's features; the encoder computes the other part of a sentence's score.
    sentence_features: dict[str, FiniteFloat] = {}
    name: str | None = None
    created: str | None = None
    model: str | None = None  # "fine-tuned", or "base" before fine-tuning
    precision: str | None = None
    base_model: BaseModelSource = BaseModelSource()
    data: DataSource = DataSource()
    recipe: dict[str, object] = {}
    lora: dict[str, object] | None = None
    trained_on: str | None = None
    training_seconds: float | None = Field(None, ge=0)
    git_commit: dict[str, str | None] = {}
    versions: dict[str, dict[str, str]] = {}
    rouge: RougeReport | None = None
    parity: ParityReport | None = None
    trust: TrustCertificate | None = None  # of mode `write`
    extraction_trust: TrustCertificate | None = None  # of mode `extract`
    kept_in_fp32: list[str] = []  # nodes of an int8 or fp16 bundle
    largest_activation: dict[str, dict[str, float | str]] = {}  # of an fp16 bundle, by graph: value and tensor
    execution_provider: str | None = None
    providers: list[str] = []
    node_placement: dict[str, dict[str, dict[str, int]]] = {}

    @field_validator("sentence_features")
    @classmethod
    def _check_features(cls, weights: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(weights) - set(FEATURES)):
            raise ValueError(f"the feature {unknown[0]!r} is not known to this version of Precis")
        return weights

    def certificate(self, mode: str) -> TrustCertificate | None:
        """The certificate of trust for summaries of the mode, "write" or "extract"; None if there is none."""
        return self.trust if mode == "write" else self.extraction_trust

    def as_json(self) -> dict[str, object]:
        """The mapping that manifest.json holds: only what was set, in JSON's types."""
        return self.model_dump(mode="json", exclude_unset=True)


def parse_manifest(content: dict[str, object], path: Path) -> Manifest:
    """The manifest from the parsed content of `path`. Raises a BundleError that names what is wrong."""
    if content.get("format") != FORMAT:
        raise BundleError(f"{path} has format {content.get('format')!r}; this version of Precis reads format {FORMAT}.")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise BundleError(f"{path} lacks the key {key}.") from None
        raise BundleError(f"{path}: {key}: {first['msg'].removeprefix('Input ')}.") from None


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
