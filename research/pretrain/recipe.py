"""The recipe of a pre-training run, which is checked as strictly as a fine-tuning recipe."""

from typing import Literal

from pydantic import Field, model_validator

from finetune.recipe import Float, Section

Task = Literal["random", "copy", "after", "fill", "continue", "gap", "extract", "lead", "title", "summarize"]


class Weights(Section):
    """How often a task draws from a set, against the other sets; before normalization."""

    prose: Float = Field(0.0, ge=0, description="copy, after, fill, continue, gap and lead.")
    title: Float = Field(0.0, ge=0, description="title; extract where the document has no summary.")
    summarize: Float = Field(0.0, ge=0, description="summarize and extract.")


class TextSet(Section):
    """One file of the corpus."""

    file: str = Field(description="JSONL, may be .xz: `document`, and `title` or `summary` where there is one.")
    rows: int | None = Field(None, ge=1, description="At most this many documents, drawn with the seed.")
    title: Literal["title", "summary"] = Field("title", description="Column with the document's title.")
    weights: Weights


class Corpus(Section):
    """The text to train on, and the evaluation text to keep out of it."""

    folder: str = Field(description="Folder of the text sets, which are not in the repository.")
    decontaminate_against: list[str] = Field(
        [], description="Evaluation files: documents that share 13 words in a row with them are dropped."
    )
    held_out: int = Field(200, ge=2, description="One document in this many is held out for the losses.")
    sets: dict[str, TextSet]


class Network(Section):
    """A gated-GELU T5 with tied embeddings."""

    vocabulary: int = Field(8000, ge=300, le=32000, description="SentencePiece pieces, byte fallback among them.")
    layers: int = Field(4, ge=1, le=24, description="Of the encoder, and of the decoder.")
    d_model: int = Field(256, ge=16)
    heads: int = Field(4, ge=2)
    d_kv: int = Field(64, ge=8)
    d_ff: int = Field(768, ge=16)


class Stage(Section):
    """A part of the run with its own mixture; document lengths are drawn evenly from `document_tokens`."""

    share: Float = Field(gt=0, le=1, description="Share of the run's tokens.")
    document_tokens: list[int] = Field(min_length=1, description="Lengths of inputs, in tokens.")
    mixture: dict[Task, Float] = Field(description="Share of each task's examples, before normalization.")


class Training(Section):
    """The training loop and its optimizers."""

    tokens: int = Field(ge=1, description="Input and target tokens of the whole run.")
    batch_tokens: int = Field(12000, ge=256, description="Tokens in an optimizer step.")
    micro_batch_tokens: int = Field(6000, ge=128, description="Tokens in one forward pass.")
    optimizer: Literal["adamw", "muon"] = Field("muon", description="For the matrices; AdamW for the embeddings.")
    learning_rate: Float = Field(gt=0, lt=1, description="Of the matrices.")
    embedding_rate: Float = Field(gt=0, lt=1, description="Of the embeddings, norms and position biases.")
    weight_decay: Float = Field(0.01, ge=0, lt=1)
    warmup: Float = Field(0.02, ge=0, lt=1, description="Share of the tokens in which the rate rises.")
    decay: Float = Field(0.4, gt=0, le=1, description="Share of the tokens, at the end, in which it falls to zero.")
    compile: bool = Field(True, description="torch.compile: two minutes to compile, then half as fast again.")
    checkpoint_minutes: Float = Field(5.0, gt=0, description="A checkpoint is written this often, and at the end.")
    seed: int = Field(0, ge=0)


class PretrainRecipe(Section):
    """The recipe of a pre-training run."""

    output: str | None = Field(None, description="Folder of the run; null is artifacts/<name of the recipe>.")
    start: str | None = Field(None, description="A model folder to continue from; null starts from nothing.")
    corpus: Corpus
    network: Network = Network()
    stages: list[Stage] = Field(min_length=1)
    training: Training

    @model_validator(mode="after")
    def _check_shares(self) -> "PretrainRecipe":
        if abs(sum(stage.share for stage in self.stages) - 1) > 1e-6:
            raise ValueError("the shares of the stages should sum to 1")
        return self
