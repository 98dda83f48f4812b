"""Progress people can watch: rich bars for loops, and one for the Trainer with its loss and time left."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback

T = TypeVar("T")
console = Console(stderr=True)


def bar() -> Progress:
    """A bar with counts, time spent and time left; on a terminal only, elsewhere its last state is printed."""
    return Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def track(items: Iterable[T], title: str) -> Iterator[T]:
    """`items`, with a bar."""
    items = list(items)
    with bar() as progress:
        task = progress.add_task(title, total=len(items), note="")
        for item in items:
            yield item
            progress.advance(task)


class TrainingBar(TrainerCallback):
    """The Trainer's steps as a bar with the last loss beside it."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.progress = bar()
        self.task = self.progress.add_task("fine-tuning (steps)", total=state.max_steps, note="")
        self.progress.start()

    def on_step_end(self, args, state, control, **kwargs):
        self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        for name in ("loss", "eval_loss"):
            if logs and name in logs:
                epoch = f"epoch {logs['epoch']:.1f}"
                self.progress.update(self.task, note=f"{epoch} {name} {logs[name]:.3f}")
                if name == "eval_loss":
                    self.progress.console.print(f"  {epoch}: validation loss {logs[name]:.3f}")

    def on_train_end(self, args, state, control, **kwargs):
        self.progress.stop()
