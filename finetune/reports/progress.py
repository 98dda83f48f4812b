"""Progress bars on the console."""

from collections.abc import Collection, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
console = Console(stderr=True)


def progress_bar() -> Progress:
    """A bar with counts, elapsed and remaining time. Without a terminal only its last state is printed."""
    return Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def track(items: Collection[T], title: str) -> Iterator[T]:
    """Yields `items` and shows a progress bar."""
    with progress_bar() as progress:
        task = progress.add_task(title, total=len(items), note="")
        for item in items:
            yield item
            progress.advance(task)
