"""transformers' Seq2SeqTrainer with a resumable order, tokens counted, ROUGE in evaluations, and failures told."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import Sampler
from transformers import Seq2SeqTrainer, TrainerCallback

from finetune.data.tokenizing import LengthGrouped
from finetune.errors import UserError
from finetune.training.checkpoints import step_of
from finetune.training.failures import is_out_of_memory, largest_that_fits


class FineTuner(Seq2SeqTrainer):
    """`score`, where given, makes an evaluation's further figures (ROUGE) of the model as it stands."""

    def __init__(self, *args, score: Callable[[torch.nn.Module], dict[str, float]] | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.score = score
        self.tokens = torch.zeros((), dtype=torch.int64, device=self.args.device)
        self.clock = Clock()
        self.add_callback(self.clock)
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self.order = LengthGrouped(_lengths(self.train_dataset), together, self.args.seed)
        self.add_callback(EpochNumber(self.order))

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        return self.order

    def _get_eval_sampler(self, eval_dataset) -> Sampler:
        return LengthGrouped(_lengths(eval_dataset), self.args.eval_batch_size, self.args.seed)

    def training_step(self, model, inputs, num_items_in_batch=None):
        self.tokens += inputs["attention_mask"].sum() + (inputs["labels"] != -100).sum()
        try:
            # T5 would fill a cache for steps that never come.
            loss = super().training_step(model, {**inputs, "use_cache": False}, num_items_in_batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            shape = inputs["input_ids"].shape
        else:
            if not torch.isfinite(loss):
                raise UserError(self._diverged())
            return loss
        # Outside the handler, whose traceback would keep the activations alive.
        raise UserError(self._too_large(*shape))

    def evaluation_loop(self, *args, **kwargs):
        try:
            output = super().evaluation_loop(*args, **kwargs)
            if self.score:
                scores = self.score(self.accelerator.unwrap_model(self.model))
                output.metrics.update({f"eval_{kind}": value for kind, value in scores.items()})
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = self.args.eval_batch_size
            raise UserError(
                f"training.eval_batch_size: {size} documents at once do not fit into memory; try {max(1, size // 2)}."
            ) from error
        if not math.isfinite(output.metrics["eval_loss"]):
            raise UserError(self._diverged())
        return output

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs and self.clock.seconds:
            logs["tokens_per_second"] = round(self.tokens_seen() / self.clock.seconds, 1)
        super().log(logs, *args, **kwargs)

    def tokens_seen(self) -> int:
        """Tokens of documents and summaries that this process's steps have read, padding not counted."""
        return int(self.tokens) * self.args.world_size

    def _diverged(self) -> str:
        found = sorted(Path(self.args.output_dir).glob("checkpoint-*"), key=step_of)
        last = f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"
        return (
            f"training.learning_rate: the loss is no longer a number at step {self.state.global_step + 1}; {last}; "
            f"try a rate lower than {self.args.learning_rate:g}."
        )

    def _too_large(self, size: int, length: int) -> str:
        """The sentence for a batch of `size` pairs of up to `length` tokens: which batch, tried now, would fit."""
        longest = sorted(range(len(self.train_dataset)), key=self.order.lengths.__getitem__)[-size:]

        def attempt(fewer: int) -> None:
            self.model.zero_grad(set_to_none=True)
            batch = self.data_collator([self._columns(i) for i in longest[-fewer:]])
            # Through the bare model: with several processes the others would be waited for.
            batch = {name: values.to(self.args.device) for name, values in batch.items()}
            loss = self.model(**batch, use_cache=False).loss
            loss.backward()

        said = f"training.batch_size: {size} pairs of {length} tokens do not fit into memory"
        if fits := largest_that_fits(size, attempt):
            steps = self.args.gradient_accumulation_steps * math.ceil(size / fits)
            return f"{said}; {fits} do, with training.gradient_accumulation={steps} for steps of the same size."
        return f"{said}, nor does one; try training.gradient_checkpointing=true or a lower data.max_document_tokens."

    def _columns(self, i: int) -> dict[str, list[int]]:
        return {name: self.train_dataset[i][name] for name in ("input_ids", "labels")}


def _lengths(dataset) -> list[int]:
    return list(map(len, dataset["input_ids"]))


class Clock(TrainerCallback):
    """Seconds of each training step, without evaluations and checkpoints."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    @property
    def seconds(self) -> float:
        return sum(self.steps)

    def on_train_begin(self, args, state, control, **kwargs):
        self.mark = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self.steps.append(now - self.mark)
        self.mark = now

    def on_evaluate(self, args, state, control, **kwargs):
        self.mark = time.perf_counter()

    on_save = on_evaluate


class EpochNumber(TrainerCallback):
    """Tells the sampler which epoch it is in, also after a resume."""

    def __init__(self, order: LengthGrouped) -> None:
        self.order = order

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.order.number = int(state.epoch or 0)


class Rhythm(TrainerCallback):
    """When to save, to evaluate for the last time, and to stop for want of progress.

    All of it follows from the Trainer's own log and steps, so that a resumed run decides as an unbroken one.
    """

    def __init__(self, checkpoint_seconds: float, metric: str, patience: int | None) -> None:
        self.checkpoint_seconds = checkpoint_seconds
        self.metric = metric
        self.patience = patience

    def on_train_begin(self, args, state, control, **kwargs):
        self.saved = time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps and args.eval_strategy == "steps":
            control.should_evaluate = control.should_save = True
        # Only where the loss is reported too: a mean over steps would otherwise begin anew in a resumed run.
        if control.should_log and _from_first(time.monotonic() - self.saved >= self.checkpoint_seconds, args):
            control.should_save = True
        control.should_log |= control.should_save

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_log |= control.should_save

    def on_save(self, args, state, control, **kwargs):
        self.saved = time.monotonic()

    def on_evaluate(self, args, state, control, **kwargs):
        key = f"eval_{self.metric}"
        values = [row[key] for row in state.log_history if key in row]
        best = min(values) if self.metric == "loss" else max(values)
        if self.patience and len(values) - 1 - values.index(best) >= self.patience:
            control.should_training_stop = True


def _from_first(answer: bool, args) -> bool:
    """The first process's answer: clocks differ, and saving is done together."""
    if args.world_size == 1:
        return answer
    answers = [answer]
    broadcast_object_list(answers)
    return answers[0]
