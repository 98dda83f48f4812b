"""A recipe: one YAML file that holds a whole run, read into typed sections before anything heavy is loaded."""

import difflib
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from finetune.errors import UserError
from precis.params import GenerationFields, field_with_default


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 (no point) as text; people write it all the same."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Float = Annotated[float, BeforeValidator(_number)]


R = TypeVar("R", bound="Section")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


class Model(Section):
    name: str = Field(description="Folder of a pre-trained T5, or its name on the hub.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    prefix: str = Field("summarize: ", description="Put before every document, in training and in serving.")
    load_in_4bit: bool = Field(
        False, description="QLoRA: train on the base in 4-bit NF4; needs an NVIDIA GPU and bitsandbytes."
    )


class Data(Section):
    name: str | None = Field(None, description="Data set on the hub; null when `train` is a file.")
    revision: str | None = Field(None, description="Branch, tag or commit of the data set on the hub.")
    train: str = Field(description="JSONL, CSV or Parquet file, or a split's name where `name` is given.")
    validation: str | None = Field(
        None, description="Likewise; null holds back 10% of the training pairs, chosen by a hash of the document."
    )
    document_column: str = Field("document", description="Column with the text to be summarized.")
    summary_column: str = Field("summary", description="Column with its summary.")
    max_document_tokens: int = Field(512, ge=16, le=16384, description="Longer documents are cut here.")
    max_summary_tokens: int = Field(64, ge=4, le=2048, description="Longer summaries are cut here in training.")
    extractive_share: Float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the training pairs, chosen by a hash, whose target is a source sentence (8 to 45 words), "
        "the one that a linear model of these pairs expects to be nearest to the summary: a small model learns to pick "
        "before it invents.",
    )
    validation_documents: int | None = Field(
        None, ge=1, description="Score at most so many validation documents, drawn by the seed; null scores all."
    )


class Lora(Section):
    rank: int = Field(16, ge=1, le=1024, description="Rank of the update matrices.")
    alpha: Float = Field(32.0, gt=0, description="The update is scaled by alpha / rank.")
    dropout: Float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    targets: str | list[str] = Field(
        "all-linear", description="Names of the modules that get an adapter, a regular expression, or all-linear."
    )
    rslora: bool = Field(False, description="Scale by alpha / sqrt(rank) instead, which keeps high ranks learning.")
    dora: bool = Field(False, description="DoRA: learn the weights' magnitude apart from their direction; slower.")


class Training(Section):
    epochs: Float = Field(3.0, gt=0, description="Passes over the training pairs.")
    max_steps: int | None = Field(None, ge=1, description="Stop after so many optimizer steps, whatever `epochs` says.")
    learning_rate: Float = Field(1e-3, gt=0, lt=1, description="Peak of the schedule.")
    scheduler: Literal["linear", "cosine", "constant"] = Field("linear", description="Shape after the warm-up.")
    warmup_ratio: Float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    weight_decay: Float = Field(0.0, ge=0, lt=1, description="AdamW's weight decay.")
    label_smoothing: Float = Field(0.0, ge=0, lt=1, description="Share of the target spread over the vocabulary.")
    dropout: Float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Dropout in the base's own layers; null is the model's (0.1 in T5). On a CPU it takes a quarter of "
        "the time, and with one epoch and an adapter there is little it could prevent.",
    )
    batch_size: int = Field(8, ge=1, description="Pairs a step on each device.")
    gradient_accumulation: int = Field(1, ge=1, description="Batches summed before an optimizer step.")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again on the way back: much less memory, about a third more time."
    )
    eval_batch_size: int = Field(16, ge=1, description="Documents at once in evaluation.")
    evaluate_every: int | None = Field(None, ge=1, description="Steps between evaluations; null is once an epoch.")
    metric: Literal["loss", "rouge1", "rouge2", "rougeL", "rougeLsum"] = Field(
        "loss",
        description="What makes an evaluation the best; the best checkpoint is the one kept. ROUGE takes longer.",
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after so many evaluations in a row without a better one; null never."
    )
    checkpoint_seconds: Float = Field(
        60.0,
        ge=0,
        description="Least time between checkpoints, beside those of every evaluation; a killed run resumes.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto takes bf16 where the hardware computes in it."
    )
    compile: bool = Field(
        False,
        description="Compile the model by torch.compile (needs a C compiler): for long runs on a GPU, since the first "
        "steps take a minute or more.",
    )
    fused_optimizer: bool = Field(
        True, description="AdamW's step in one kernel for all weights; false is PyTorch's default, one after another."
    )
    workers: int = Field(
        0, ge=0, le=64, description="Processes that prepare batches beside the training; a fast GPU wants some."
    )
    seed: int = Field(0, ge=0, description="Seed of shuffling, dropout and adapter weights.")


class Generation(GenerationFields, Section):
    """transformers' names; written into the merged model's generation_config.json. null is transformers' default."""

    max_new_tokens: int = field_with_default("max_new_tokens", 64)
    length_penalty: Float | None = field_with_default("length_penalty", None)
    repetition_penalty: Float | None = field_with_default("repetition_penalty", None)


class Export(Section):
    precision: list[Literal["fp32", "int8", "fp16"]] = Field(
        ["fp32"], min_length=1, description="Bundles to make where the command line names none."
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the bundles are proved, and meant to run.")
    documents: int = Field(100, ge=1, description="Documents on which PyTorch is compared with ONNX.")
    engine_documents: int = Field(
        300,
        ge=1,
        description="Documents on which two ONNX models are compared by ROUGE; validation first, then training.",
    )
    tolerance: Float = Field(1e-3, gt=0, description="Largest logit difference where both have to say the same.")
    rouge_tolerance: Float = Field(0.5, gt=0, description="Largest ROUGE difference of int8 and fp16, in points.")
    rouge_interval: Float = Field(1.0, gt=0, description="The 95% interval of that difference has to lie within this.")
    kept_in_fp32: list[str] = Field(
        [], description="Patterns of layers that int8 and fp16 leave alone; what a failing gate finds comes on top."
    )


class Recipe(Section):
    output: str | None = Field(None, description="Folder of the run; null is artifacts/<name of the recipe>.")
    model: Model
    data: Data
    lora: Lora | None = Field(Lora(), description="null trains every weight instead (full fine-tuning).")
    training: Training = Training()
    generation: Generation = Generation()
    export: Export = Export()

    @model_validator(mode="after")
    def _four_bits_take_an_adapter(self) -> "Recipe":
        if self.model.load_in_4bit and self.lora is None:
            raise ValueError("model.load_in_4bit needs an adapter, and lora is null")
        return self


def read_recipe(path: str | Path, overrides: list[str] = (), schema: type[R] = Recipe) -> R:
    """The recipe at `path`, of the form `schema`, with `section.key=value` overrides applied.

    Raises UserError with one sentence that names the key at fault.
    """
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Recipe {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"Recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"Recipe {path} should hold sections such as model: and data:, and holds none.")
    for override in overrides:
        _apply(tree, override)
    tree = {**tree, "output": tree.get("output") or f"artifacts/{path.stem}"}
    return parse_recipe(tree, schema)


def parse_recipe(tree: dict[str, Any], schema: type[R] = Recipe) -> R:
    """The recipe of a mapping as its `model_dump` gives it. Raises UserError."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise UserError(_sentence(error, schema)) from error


def _apply(tree: dict[str, Any], override: str) -> None:
    """Puts one `section.key=value` from the command line into the tree; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"Override {override!r} should read section.key=value.")
    *sections, last = key.split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            raise UserError(f"Override {override!r}: {section} is not a section.")
    try:
        tree[last] = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise UserError(f"Override {override!r}: the value is not valid YAML.") from error


def _sentence(error: ValidationError, schema: type[Section]) -> str:
    """The first complaint of pydantic as one sentence with the key's full name."""
    first = error.errors()[0]
    place, section = _place(first["loc"], schema)
    key = ".".join(place)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], section.model_fields, n=1, cutoff=0.0)
        hint = ".".join([*place[:-1], near[0]])
        return f"Unknown key {key} in the recipe; the nearest valid one is {hint}."
    if first["type"] == "missing":
        return f"The recipe lacks the key {key}."
    message = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if not place:
        return f"The recipe: {message}."
    return f"Recipe key {key}: {message}, and it is {first['input']!r}."


def _place(location: tuple[str | int, ...], schema: type[Section]) -> tuple[list[str], type[Section]]:
    """The parts of a key's name without what pydantic adds (a union's member, say), and the section that holds it."""
    names, section, inside = [], schema, schema
    for part in location:
        if get_origin(inside) is UnionType:  # a section that may be null
            inside = next(member for member in get_args(inside) if member is not NoneType)
        if isinstance(inside, type) and issubclass(inside, Section):
            section = inside
            field = section.model_fields.get(part)
            inside = field.annotation if field else None
        elif get_origin(inside) in (dict, list):
            inside = get_args(inside)[-1]
        else:
            break
        names.append(str(part))
    return names, section
