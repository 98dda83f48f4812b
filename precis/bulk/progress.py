"""How far a run is: a bar on a terminal, elsewhere a line now and then."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from precis.bulk.run import Mark

EVERY = 30.0  # seconds between two lines


class Watch:
    """Counts rows; the share of the input that is done goes by its bytes, which are known beforehand."""

    def __init__(self, total: int, mark: Mark, console: Console) -> None:
        """`total` bytes are to be read, and what is before `mark` was done by an earlier process."""
        self._total, self._first, self._read = max(1, total), mark.read, float(mark.read)
        self.rows, self._first_rows, self._console = mark.done, mark.done, console
        self._began = self._told = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("summarizing", total=self._total, note="")

    def __enter__(self) -> "Watch":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def done(self, rows: int, read: float) -> None:
        """So many rows are done, for which `read` bytes were read."""
        self.rows += rows
        self._read += read
        if time.monotonic() - self._told >= (0.5 if self._console.is_terminal else EVERY):
            self._tell()

    @property
    def rate(self) -> float:
        """Rows a second since this process began."""
        return (self.rows - self._first_rows) / max(1e-9, time.monotonic() - self._began)

    def _tell(self) -> None:
        self._told = time.monotonic()
        left = (self._total - self._read) * (self._told - self._began) / max(1.0, self._read - self._first)
        hours, minutes = int(left // 3600), int(left % 3600 // 60)
        span = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(left % 60):02} s"
        note = f"{self.rows:,} rows, {self.rate:.1f} a second, {span} left"
        self._progress.update(self._task, completed=self._read, note=note)
        if not self._console.is_terminal:
            self._console.print(f"{100 * self._read / self._total:.0f}%: {note}", highlight=False)
