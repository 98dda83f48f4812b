"""A discrete-event simulation of engines behind a load balancer and an autoscaler; it knows costs, not models.

A replica does what precis/scheduling/scheduler.py does: before every step waiting texts join, oldest first, while rows
and the budget of tokens last, and no crowd is joined by who came after its eldest; a step gives every running sequence a token.
What that takes is measured (research.simulate).
"""

import bisect
import math
import random
from collections import deque
from dataclasses import dataclass

from precis.runtime.kv_cache import EFFICIENT_BATCH_ROWS, MAX_PREFILL_TOKENS

# deploy/kubernetes/base/autoscaler.yaml
TARGET_TOKENS, FEWEST, MOST = 4000, 2, 10
EVERY, DOWN_EVERY, CALM = 15.0, 60.0, 300.0  # seconds between looks, between two steps down, of calm before the first


@dataclass(frozen=True)
class Costs:
    """Seconds that an engine takes: to read texts (`read_text` each and `read_token` a token), for a step of n rows
    (`steps`: measured pairs, between which it is a straight line), and outside of it for each request (`overhead`)."""

    read_text: float
    read_token: float
    steps: tuple[tuple[int, float], ...]
    overhead: float = 0.0
    rows: int = 32
    readers: int = 2
    most_waiting: int = 1 << 18  # tokens

    def step(self, rows: int) -> float:
        at = bisect.bisect_left([known for known, _ in self.steps], rows)
        if at == 0:
            return self.steps[0][1]
        if at == len(self.steps):
            return self.steps[-1][1] * rows / self.steps[-1][0]
        (low, fast), (high, slow) = self.steps[at - 1 : at + 1]
        return fast + (slow - fast) * (rows - low) / (high - low)


@dataclass(slots=True)
class Text:
    """One request: when it comes, tokens to read and to write, and when it is answered (nan: refused)."""

    at: float
    tokens: int
    new: int
    done: float = math.nan

    @property
    def latency(self) -> float:
        return self.done - self.at


class Replica:
    """One engine. Its clock stands where its last step ended."""

    def __init__(self, costs: Costs, ready: float = 0.0) -> None:
        self.costs, self.clock, self.ready = costs, ready, ready
        self.waiting: deque[Text] = deque()
        self.waiting_tokens = 0
        self.running: list[list] = []  # tokens left, text, when it joined
        self.busy = 0.0

    @property
    def outstanding(self) -> int:
        return len(self.waiting) + len(self.running)

    def submit(self, text: Text) -> None:
        """The clock has to be brought to the text's time before. A text that finds the queue full is refused."""
        if self.waiting_tokens > self.costs.most_waiting:
            return
        if not self.outstanding:
            self.clock = max(self.clock, text.at)
        self.waiting.append(text)
        self.waiting_tokens += text.tokens

    def advance(self, until: float) -> None:
        """Works until `until` is reached, or nothing is left."""
        while self.clock < until and self.outstanding:
            self._turn()

    def _turn(self) -> None:
        costs, read, took = self.costs, 0, 0.0
        eldest = min((joined for *_, joined in self.running), default=math.inf)
        while self.waiting and self._joins(self.waiting[0], read, eldest):
            text = self.waiting.popleft()
            self.waiting_tokens -= text.tokens
            read += text.tokens
            took += costs.read_text + costs.read_token * text.tokens
            self.running.append([text.new, text, self.clock + took])
        took += costs.step(len(self.running))
        self.clock += took
        self.busy += took
        for entry in self.running:
            entry[0] -= 1
            if not entry[0]:
                entry[1].done = self.clock + costs.overhead
        self.running = [entry for entry in self.running if entry[0]]

    def _joins(self, text: Text, read: int, eldest: float) -> bool:
        within = not read or read + text.tokens <= MAX_PREFILL_TOKENS * self.costs.readers
        welcome = text.at <= eldest or len(self.running) < EFFICIENT_BATCH_ROWS
        return within and welcome and len(self.running) < self.costs.rows


def poisson(rate: float, seconds: float, draw: random.Random, lengths: tuple[int, int], news: tuple[int, int]):
    """Texts that come at `rate` a second on average, their lengths drawn evenly."""
    now = draw.expovariate(rate)
    while now < seconds:
        yield Text(now, draw.randint(*lengths), draw.randint(*news))
        now += draw.expovariate(rate)


def route(texts: list[Text], replicas: list[Replica], choices: int, draw: random.Random) -> None:
    """Each text goes to the least busy of so many replicas drawn by chance: 1 is what a Kubernetes Service does, 2
    what load balancers call power of two choices."""
    for text in texts:
        drawn = [draw.choice(replicas) for _ in range(choices)]
        for replica in drawn:
            replica.advance(text.at)
        min(drawn, key=lambda replica: replica.outstanding).submit(text)
    for replica in replicas:
        replica.advance(math.inf)


def autoscaled(
    texts: list[Text], costs: Costs, start: float, most: int, draw: random.Random, rows: float = math.inf
) -> list[tuple[float, int]]:
    """As `route` with one choice, under Kubernetes' autoscaler: it wants TARGET_TOKENS waiting and `rows` running a
    replica (infinite: does not look at them), whichever needs more replicas. A new one works after `start` seconds.

    Returns (seconds, replicas that work) at every look.
    """
    replicas = [Replica(costs) for _ in range(FEWEST)]
    look, last_down, seen = EVERY, 0.0, [(0.0, FEWEST)]
    lately: deque[int] = deque([FEWEST], maxlen=round(CALM / EVERY))  # what was wanted; it goes down to their most
    for text in texts:
        while look <= text.at:
            for replica in replicas:
                replica.advance(look)
            working = [replica for replica in replicas if replica.ready <= look]
            waiting = sum(replica.waiting_tokens for replica in working) / len(working) / TARGET_TOKENS
            running = sum(len(replica.running) for replica in working) / len(working) / rows
            share = max(waiting, running)
            wanted = len(replicas) if 0.9 <= share <= 1.1 else math.ceil(len(working) * share)
            lately.append(min(most, max(FEWEST, wanted)))
            if lately[-1] > len(replicas):
                add = min(lately[-1], 2 * len(replicas)) - len(replicas)
                replicas += [Replica(costs, look + start) for _ in range(add)]
            elif max(lately) < len(replicas) and look - last_down >= DOWN_EVERY:
                replicas.pop().advance(math.inf)  # it finishes what it has
                last_down = look
            seen.append((look, sum(replica.ready <= look for replica in replicas)))
            look += EVERY
        replica = draw.choice([replica for replica in replicas if replica.ready <= text.at])
        replica.advance(text.at)
        replica.submit(text)
    for replica in replicas:
        replica.advance(math.inf)
    return seen
