"""Runs each system in a process of its own; the processes take turns, so that a noisy machine disturbs all alike.

    python -m benchmarks.turns NAME SETUP

is such a process. It reads a JSON list a line, a command and its arguments, and answers each with a JSON object a line.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.peers import Setup, error_line, import_libraries, load_peer, token_ids

PAUSE = 0.25  # seconds; OpenMP's threads of the system measured last spin for 0.2 s and then sleep
Answers = dict[str, dict[int, list[dict[str, float]]]]  # by system and batch, one for each round
console = Console()


class SystemFailed(RuntimeError):
    """A system could not be loaded, or failed at a command."""


class System:
    """A system in its own process, which waits for commands."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.turns", name, json.dumps(asdict(setup), default=str)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, *command: object) -> None:
        """Sends a command without waiting for its answer."""
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended, which `receive` reports

    def receive(self) -> dict[str, float]:
        """Waits for the answer of the oldest command. Raises SystemFailed."""
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                answer = json.loads(line)
                if "failed" in answer:
                    raise SystemFailed(answer["failed"])
                return answer
        raise SystemFailed("The process ended: see above.")

    def ask(self, *command: object) -> dict[str, float]:
        """Sends a command and waits for its answer. Raises SystemFailed."""
        self.send(*command)
        return self.receive()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()  # there is nothing to save, and some systems take seconds to end
        self._process.wait()


def take_turns(
    systems: list[System],
    batches: Sequence[int],
    command: tuple[int, int, int],
    rounds: int,
    failed: dict[str, str],
    keep: Callable[[Answers], None],
    warm_up: int = 0,
) -> Answers:
    """Times every system on every batch, `rounds` times in turn, after `warm_up` rounds that are not counted.

    `command` is (source tokens, new tokens, beams). A system that fails goes to `failed` and is removed from `systems`.
    `keep` is called after every round.
    """
    answers: Answers = {system.name: {} for system in systems}
    for batch in batches:
        for turn in range(-warm_up, rounds):
            for system in list(systems):
                time.sleep(PAUSE)
                answer = attempt(system, systems, failed, "batch", batch, *command)
                if answer and turn >= 0:
                    answers[system.name].setdefault(batch, []).append(answer)
            console.print(f"  batch {batch}, {command[2]} beams: round {turn + 1} of {rounds}", style="dim")
            keep(answers)
    return answers


def attempt(system: System, systems: list[System], failed: dict[str, str], *command: object) -> dict[str, float] | None:
    """The answer to a command (or to the one sent before); None if the system fails, which is then taken out."""
    try:
        return system.ask(*command) if command else system.receive()
    except SystemFailed as error:
        failed[system.name] = str(error)
        console.print(f"{system.name} failed: {error}", markup=False)
        systems.remove(system)
        return None


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def serve(name: str, setup: Setup) -> None:
    """Answers the commands on standard input.

    ["load"] loads the system; ["batch", texts, source tokens, new tokens, beams] is timed.
    """
    try:
        import_libraries(name)
    except ImportError as error:
        print(json.dumps({"failed": error_line(error)}), flush=True)
        return
    system = None
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            if command == "load":
                system = load_peer(name, setup)
                answer = {"ready": True}
            else:
                answer = time_batch(system, *arguments)
        except Exception as error:  # whatever it is: the other systems go on, and this one is reported as failed
            answer = {"failed": error_line(error)}
        print(json.dumps(answer), flush=True)


def time_batch(system, batch: int, source: int, new: int, beams: int) -> dict[str, float]:
    """Seconds of one batch, and how many of them our engine spent in ONNX Runtime."""
    inputs = token_ids(batch, source)
    inside = getattr(system, "onnxruntime_seconds", lambda: 0.0)
    before, began = inside(), time.perf_counter()
    counts = system.run(inputs, new, beams)
    seconds = time.perf_counter() - began
    if counts != [new] * batch:
        raise RuntimeError(f"wrote another number of tokens than asked for at batch {batch}")
    return {"seconds": seconds, "inside": inside() - before}


if __name__ == "__main__":
    fields = json.loads(sys.argv[2])
    serve(sys.argv[1], Setup(**{**fields, "folder": Path(fields["folder"])}))
