"""Shows training on the console: a progress bar, and a table with one row per evaluation."""

from rich.console import Group
from rich.live import Live
from rich.table import Table
from transformers import TrainerCallback

from finetune.reports.progress import console, progress_bar

COLUMNS = {
    "loss": ("loss", "{:.3f}"),
    "eval_loss": ("validation loss", "{:.3f}"),
    "eval_rouge1": ("ROUGE-1", "{:.2f}"),
    "eval_rouge2": ("ROUGE-2", "{:.2f}"),
    "eval_rougeL": ("ROUGE-L", "{:.2f}"),
    "tokens_per_second": ("tokens/s", "{:,.0f}"),
}


class ProgressTableCallback(TrainerCallback):
    """Shows loss, ROUGE, tokens per second and remaining time. Without a terminal it prints one line per row."""

    def __init__(self) -> None:
        self.table = Table("step", "epoch", *(name for name, _ in COLUMNS.values()), box=None, header_style="bold")
        for column in self.table.columns:
            column.justify = "right"
        self.progress = progress_bar()
        self.live = Live(Group(self.table, self.progress), console=console, refresh_per_second=2)
        self.last: dict[str, float] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        self.task = self.progress.add_task(
            "fine-tuning (steps)", total=state.max_steps, completed=state.global_step, note=""
        )
        if console.is_terminal:
            self.live.start()

    def on_step_end(self, args, state, control, **kwargs):
        self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.last |= logs or {}
        if "loss" in self.last:
            speed = self.last.get("tokens_per_second", 0)
            self.progress.update(self.task, note=f"loss {self.last['loss']:.3f}, {speed:,.0f} tokens/s")
        if "eval_loss" not in (logs or {}):
            return
        cells = {key: form.format(self.last[key]) for key, (_, form) in COLUMNS.items() if key in self.last}
        self.table.add_row(str(state.global_step), f"{state.epoch:.1f}", *(cells.get(key, "–") for key in COLUMNS))
        if not console.is_terminal:
            values = ", ".join(f"{COLUMNS[key][0]} {cell}" for key, cell in cells.items())
            console.print(f"step {state.global_step} of {state.max_steps}: {values}", highlight=False)

    def on_train_end(self, args, state, control, **kwargs):
        self.close()

    def close(self) -> None:
        """Releases the terminal, also after an error."""
        self.live.stop()
