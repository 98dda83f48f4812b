"""transformers' Seq2SeqTrainer with a resumable order, token counts, ROUGE in evaluations and clear error messages."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from datasets import Dataset
from pyarrow.compute import list_value_length
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import PreTrainedModel, Seq2SeqTrainer

from finetune.data.sampler import LengthGroupedSampler
from finetune.data.tokenizing import BATCH
from finetune.errors import UserError
from finetune.training.callbacks import SamplerEpochCallback, StepTimerCallback
from finetune.training.checkpoints import list_checkpoints
from finetune.training.failures import is_out_of_memory, largest_batch_that_fits


def token_loss(
    outputs: Mapping[str, torch.Tensor],
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy per token of an optimizer step, or of this batch outside of training.

    T5's own loss is the mean of a batch, and the mean of several such means depends on how a step is divided into
    batches. `num_items_in_batch` counts the tokens of all batches of the step.
    """
    total = cross_entropy(
        outputs["logits"].flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=label_smoothing
    )
    return total / ((labels != -100).sum() if num_items_in_batch is None else num_items_in_batch)


class FineTuner(Seq2SeqTrainer):
    """Raises UserError if the loss is not finite or a batch does not fit into memory.

    `score`, if given, computes further metrics of an evaluation (ROUGE) from the model.
    """

    model: PreTrainedModel
    train_dataset: Dataset
    data_collator: Callable[[list[dict[str, list[int]]]], dict[str, torch.Tensor]]

    def __init__(self, *args, score: Callable[[PreTrainedModel], dict[str, float]] | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.compute_loss_func = partial(token_loss, label_smoothing=self.args.label_smoothing_factor)
        self.score = score
        self.tokens = torch.zeros((), dtype=torch.int64, device=self.args.device)
        self.timer = StepTimerCallback()
        self.add_callback(self.timer)
        step_rows = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self.sampler = LengthGroupedSampler(_input_lengths(self.train_dataset), step_rows, self.args.seed)
        self.add_callback(SamplerEpochCallback(self.sampler))

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        return self.sampler

    def _get_eval_sampler(self, eval_dataset) -> Sampler:
        return LengthGroupedSampler(_input_lengths(eval_dataset), self.args.eval_batch_size, self.args.seed)

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        self.tokens += inputs["attention_mask"].sum() + (inputs["labels"] != -100).sum()
        try:
            # use_cache: T5 would otherwise fill a cache that training never reads.
            loss = super().training_step(model, {**inputs, "use_cache": False}, num_items_in_batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            shape = inputs["input_ids"].shape
        else:
            if not torch.isfinite(loss):
                raise UserError(self._not_finite_message())
            return loss
        # Outside the handler, whose traceback would keep the activations alive.
        raise UserError(self._too_large_message(*shape))

    def evaluation_loop(self, *args, **kwargs):
        try:
            output = super().evaluation_loop(*args, **kwargs)
            metrics = output.metrics or {}
            if self.score:
                scores = self.score(self.accelerator.unwrap_model(self.model))
                metrics.update({f"eval_{name}": value for name, value in scores.items()})
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = self.args.eval_batch_size
            raise UserError(
                f"training.eval_batch_size: {size} documents at once do not fit into memory; try {max(1, size // 2)}."
            ) from error
        if not math.isfinite(metrics["eval_loss"]):
            raise UserError(self._not_finite_message())
        return output

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs and self.timer.total_seconds:
            logs["tokens_per_second"] = round(self.tokens_seen() / self.timer.total_seconds, 1)
        super().log(logs, *args, **kwargs)

    def tokens_seen(self) -> int:
        """Tokens of documents and summaries in all steps of this process so far, times the number of processes.

        Padding is not counted.
        """
        return int(self.tokens) * self.args.world_size

    def _not_finite_message(self) -> str:
        checkpoints = list_checkpoints(Path(self.args.output_dir or ""))
        last = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
        return (
            f"training.learning_rate: the loss is no longer a number at step {self.state.global_step + 1}; {last}; "
            f"try a rate lower than {self.args.learning_rate:g}."
        )

    def _too_large_message(self, size: int, length: int) -> str:
        """For a batch of `size` pairs of up to `length` tokens: tries smaller ones and names the one that fits."""
        lengths = self.sampler.lengths
        longest = sorted(range(len(lengths)), key=lengths.__getitem__)[-size:]

        def attempt(count: int) -> None:
            self.model.zero_grad(set_to_none=True)
            batch = self.data_collator([self._row(i) for i in longest[-count:]])
            batch = {name: values.to(self.args.device) for name, values in batch.items()}
            # The model itself, not its distributed wrapper, which would wait for the other processes.
            self.compute_loss(self.model, {**batch, "use_cache": False}).backward()

        problem = f"training.batch_size: {size} pairs of {length} tokens do not fit into memory"
        if fits := largest_batch_that_fits(size, attempt):
            steps = self.args.gradient_accumulation_steps * math.ceil(size / fits)
            return f"{problem}; {fits} do, with training.gradient_accumulation={steps} for steps of the same size."
        return f"{problem}, nor does one; try training.gradient_checkpointing=true or a lower data.max_document_tokens."

    def _row(self, i: int) -> dict[str, list[int]]:
        return {name: self.train_dataset[i][name] for name in ("input_ids", "labels")}


def _input_lengths(dataset: Dataset) -> list[int]:
    rows = dataset.with_format("arrow", columns=["input_ids"])
    return [length for batch in rows.iter(BATCH) for length in list_value_length(batch["input_ids"]).to_pylist()]
