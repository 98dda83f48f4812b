"""Shows how far a bulk run is: a progress bar on a terminal, elsewhere a line every half minute."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from precis.bulk.job import Checkpoint

TERMINAL_SECONDS, LINE_SECONDS = 0.5, 30.0  # between two updates


class ProgressReporter:
    """Counts rows of `total_bytes` of input; work before `start` was done by an earlier process."""

    def __init__(self, total_bytes: int, start: Checkpoint, console: Console) -> None:
        self._total, self._start, self._bytes_read = max(1, total_bytes), start, float(start.bytes_read)
        self._rows, self._console = start.done, console
        self._interval = TERMINAL_SECONDS if console.is_terminal else LINE_SECONDS
        self._started = self._updated = time.monotonic()
        columns = (TextColumn("summarizing"), BarColumn(), TextColumn("{task.percentage:>3.0f}% {task.fields[note]}"))
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=self._total, note="")

    def __enter__(self) -> "ProgressReporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, rows: int, bytes_read: float) -> None:
        """Counts `rows` more, for which `bytes_read` were read."""
        self._rows += rows
        self._bytes_read += bytes_read
        if time.monotonic() - self._updated >= self._interval:
            self._update()

    def _update(self) -> None:
        self._updated = time.monotonic()
        elapsed = max(1e-9, self._updated - self._started)
        rate = (self._rows - self._start.done) / elapsed
        remaining = (self._total - self._bytes_read) * elapsed / max(1.0, self._bytes_read - self._start.bytes_read)
        minutes, seconds = divmod(int(remaining), 60)
        duration = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {seconds:02} s"
        note = f"{self._rows:,} rows, {rate:.1f} a second, {duration} left"
        self._progress.update(self._task, completed=self._bytes_read, note=note)
        if not self._console.is_terminal:
            self._console.print(f"{100 * self._bytes_read / self._total:.0f}%: {note}", highlight=False)
