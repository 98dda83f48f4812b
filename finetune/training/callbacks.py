"""Trainer callbacks: step times, the sampler's epoch, and when to evaluate, save and stop."""

import time

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainingArguments

from finetune.data.sampler import LengthGroupedSampler


class StepTimerCallback(TrainerCallback):
    """Measures the seconds of each training step, without evaluations and checkpoints."""

    def __init__(self) -> None:
        self.step_seconds: list[float] = []

    @property
    def total_seconds(self) -> float:
        """The sum over all steps."""
        return sum(self.step_seconds)

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self._last = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        now = time.perf_counter()
        self.step_seconds.append(now - self._last)
        self._last = now

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        self._last = time.perf_counter()

    on_save = on_evaluate


class SamplerEpochCallback(TrainerCallback):
    """Sets the sampler's epoch, also after a resume."""

    def __init__(self, sampler: LengthGroupedSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        self.sampler.epoch_index = int(state.epoch or 0)


class EvaluateSaveStopCallback(TrainerCallback):
    """Saves every `checkpoint_seconds`, evaluates after the last step, and stops early.

    Training stops after `patience` evaluations without a better `metric` (None: never). What decides, apart from the
    time between checkpoints, is the Trainer's own log and step, so that a resumed run decides as an unbroken one.
    """

    def __init__(self, checkpoint_seconds: float, metric: str, patience: int | None) -> None:
        self.checkpoint_seconds = checkpoint_seconds
        self.metric = metric
        self.patience = patience

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self._last_save = time.monotonic()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step >= state.max_steps and args.eval_strategy == "steps":
            control.should_evaluate = control.should_save = True
        # Only on a step that logs the loss: a resumed run starts a new mean, and would else log another value.
        if control.should_log and _of_first_process(self._is_save_due(), args):
            control.should_save = True
        control.should_log |= control.should_save

    def on_epoch_end(self, args, state, control, **kwargs) -> None:
        control.should_log |= control.should_save

    def on_save(self, args, state, control, **kwargs) -> None:
        self._last_save = time.monotonic()

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        key = f"eval_{self.metric}"
        values = [row[key] for row in state.log_history if key in row]
        best = min(values) if self.metric == "loss" else max(values)
        if self.patience and len(values) - 1 - values.index(best) >= self.patience:
            control.should_training_stop = True

    def _is_save_due(self) -> bool:
        return time.monotonic() - self._last_save >= self.checkpoint_seconds


def _of_first_process(value: bool, args: TrainingArguments) -> bool:
    """The first process's `value`: all processes save together, and their clocks differ."""
    if args.world_size == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]
