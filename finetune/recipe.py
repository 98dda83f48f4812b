"""The schema of a recipe, the file that describes a run: its sections, with bounds, defaults and descriptions."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from precis.params import GenerationFields, field_with_default


def _number(value: Any) -> Any:
    """Reads numbers such as 1e-3, which YAML 1.1 takes for text because they have no decimal point."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Float = Annotated[float, BeforeValidator(_number)]
TextOrNothing = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class Section(BaseModel):
    """A part of a recipe. Unknown keys, other types and NaN are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


class Model(Section):
    """The pre-trained model."""

    name: str = Field(description="Folder of a pre-trained T5, or its name on the hub.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    prefix: TextOrNothing = Field(
        "summarize: ", description="Text put before every document, in training and in serving; may be empty."
    )
    load_in_4bit: bool = Field(False, description="QLoRA: base in 4-bit NF4; needs an NVIDIA GPU and bitsandbytes.")


class Data(Section):
    """The pairs of documents and summaries."""

    name: str | None = Field(None, description="Data set on the hub; null if `train` is a file or folder.")
    revision: str | None = Field(None, description="Branch, tag or commit of the data set on the hub.")
    subset: str | None = Field(
        None, description="Subset (configuration) of a data set on the hub that has several, such as a language."
    )
    train: str = Field(description="File, folder or pattern (docs/training.md#data), or split of `name`.")
    validation: str | None = Field(None, description="Likewise; null holds back 10% of the training pairs.")
    document_column: str = Field("document", description="Column with the text to be summarized.")
    summary_column: str = Field("summary", description="Column with its summary.")
    max_document_tokens: int = Field(512, ge=16, le=16384, description="Longer documents are truncated to this length.")
    max_summary_tokens: int = Field(
        64, ge=4, le=2048, description="Longer summaries are truncated to this length in training."
    )
    validation_documents: int | None = Field(
        None, ge=1, description="Size of a random sample to score; null scores all."
    )


class Lora(Section):
    """The LoRA adapter (Hu et al. 2021)."""

    rank: int = Field(16, ge=1, le=1024, description="Rank of the update matrices.")
    alpha: Float = Field(32.0, gt=0, description="The update is scaled by alpha / rank.")
    dropout: Float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    targets: str | list[str] = Field(
        "all-linear", description="Names of adapted modules, a regular expression, or all-linear."
    )
    rslora: bool = Field(False, description="Scale by alpha / sqrt(rank), for high ranks (Kalajdzievski 2023).")
    dora: bool = Field(False, description="DoRA: learn magnitude and direction separately; slower (Liu et al. 2024).")


class Training(Section):
    """How the model is trained, and which evaluation is the best."""

    objective: Literal["generate", "extract"] = Field(
        "generate",
        description="`generate` learns to write the summaries; `extract` learns to write a sentence of the document, "
        "which is easier for a small model, and fits the sentence ranker that generation.mode `extract` uses.",
    )
    epochs: Float = Field(3.0, gt=0, description="Passes over the training pairs.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimizer steps instead of after `epochs`."
    )
    learning_rate: Float = Field(1e-3, gt=0, lt=1, description="Highest learning rate of the schedule.")
    scheduler: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="Shape of the schedule after the warm-up."
    )
    warmup_ratio: Float = Field(
        0.05, ge=0, lt=1, description="Share of the steps in which the learning rate rises to its peak."
    )
    weight_decay: Float = Field(0.0, ge=0, lt=1, description="AdamW's weight decay.")
    label_smoothing: Float = Field(
        0.0, ge=0, lt=1, description="Share of the target probability that is spread over the vocabulary."
    )
    dropout: Float | None = Field(
        None, ge=0, lt=1, description="Dropout in the base; null keeps its own. 0 is a quarter faster on a CPU."
    )
    batch_size: int = Field(8, ge=1, description="Pairs per device in each forward pass.")
    gradient_accumulation: int = Field(
        1, ge=1, description="Batches whose gradients are summed for one optimizer step."
    )
    gradient_checkpointing: bool = Field(False, description="Much less memory, about a third more time.")
    eval_batch_size: int = Field(16, ge=1, description="Documents per device and batch in an evaluation.")
    evaluate_every: int | None = Field(
        None, ge=1, description="Steps between evaluations; null evaluates after each epoch."
    )
    metric: Literal["loss", "rouge1", "rouge2", "rougeL", "rougeLsum"] = Field(
        "loss", description="The weights of the best evaluation by this metric are kept."
    )
    patience: int | None = Field(None, ge=1, description="Stop after this many evaluations without a better one.")
    checkpoint_seconds: Float = Field(
        60.0, ge=0, description="Seconds between checkpoints; each evaluation saves one too."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto is bf16 if the hardware supports it.")
    compile: bool = Field(False, description="Use torch.compile; needs a C compiler and pays in long GPU runs.")
    fused_optimizer: bool = Field(True, description="One AdamW kernel for all weights; false is PyTorch's default.")
    workers: int = Field(0, ge=0, le=64, description="Processes that prepare batches; a fast GPU needs some.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of shuffling, dropout, adapter weights and sampling.")


class Generation(GenerationFields, Section):
    """Generation parameters, written to generation_config.json. null: transformers' default, `write` and 1 sentence."""

    max_new_tokens: int = field_with_default("max_new_tokens", 64)
    length_penalty: Float | None = field_with_default("length_penalty", None)
    repetition_penalty: Float | None = field_with_default("repetition_penalty", None)


class Export(Section):
    """Which bundles `python -m export` makes, and when they count as equal to the PyTorch model."""

    precision: list[Literal["fp32", "int8", "fp16"]] = Field(
        ["fp32"], min_length=1, description="Bundles to make if the command line names none."
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Device that the bundles are verified on and meant for.")
    documents: int = Field(100, ge=1, description="Documents on which the PyTorch model is compared with ONNX.")
    engine_documents: int = Field(300, ge=1, description="Documents on which ONNX models are compared by ROUGE.")
    tolerance: Float = Field(
        1e-4,
        gt=0,
        description="Largest logit difference that passes for rounding, as a share of the largest logit: of the merged "
        "model from base and adapter, and of the fp32 bundle from PyTorch.",
    )
    rouge_tolerance: Float = Field(0.5, gt=0, description="Largest ROUGE loss or gain of int8 and fp16, in points.")
    rouge_interval: Float = Field(1.0, gt=0, description="Bound on the 95% interval of that difference, in points.")
    kept_in_fp32: list[str] = Field(
        [], description="Regular expressions for layers that stay in fp32 in int8 and fp16."
    )


class Recipe(Section):
    """A run: model, data, training, search and export."""

    output: str | None = Field(None, description="Folder of the run; null is artifacts/<name of the recipe>.")
    model: Model
    data: Data
    lora: Lora | None = Field(Lora(), description="null trains all weights instead (full fine-tuning).")
    training: Training = Training()
    generation: Generation = Generation()
    export: Export = Export()

    @property
    def output_folder(self) -> Path:
        """The folder of the run. `read_recipe` always sets it."""
        if self.output is None:
            raise ValueError("the recipe names no output folder")
        return Path(self.output)

    @field_validator("output")
    @classmethod
    def _check_output_has_name(cls, output: str | None) -> str | None:
        if output is not None and (Path(output).name in ("", "..") or "\0" in output):
            raise ValueError("should name a new folder")
        return output

    @model_validator(mode="after")
    def _check_4bit_has_adapter(self) -> "Recipe":
        if self.model.load_in_4bit and self.lora is None:
            raise ValueError("model.load_in_4bit needs an adapter, and lora is null")
        return self
