"""A discrete-event simulation of engines behind a load balancer and an autoscaler; it knows costs, not models.

A replica has the scheduler's queue and joining policy: before every step waiting texts join, callers in turn, as long
as the policy lets them; then a step gives every running sequence a token. The seconds that this takes are measured
(costs.py).
"""

import bisect
import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

# The only imports of the scheduler's policy and constants in research/.
from precis.runtime.kv_cache_cpu import EFFICIENT_BATCH_ROWS, MAX_PREFILL_TOKENS
from precis.scheduling.fair_queue import Caller, FairQueue
from precis.scheduling.policy import BatchState, Candidate, may_join

# deploy/kubernetes/base/autoscaler.yaml
TARGET_TOKENS, MIN_REPLICAS, MAX_REPLICAS = 4000, 2, 10
# Seconds between two decisions, between two steps down, and that the load has to be lower before the first.
DECISION_SECONDS, DOWN_SECONDS, STABLE_SECONDS = 15.0, 60.0, 300.0


@dataclass(frozen=True)
class Costs:
    """Seconds that an engine takes.

    A prefill takes `prefill_text` for each text and `prefill_token` for each token; a step of n rows takes what `steps`
    says, measured pairs with linear interpolation; `overhead` is added to each request outside the engine.
    """

    prefill_text: float
    prefill_token: float
    steps: tuple[tuple[int, float], ...]
    overhead: float = 0.0
    rows: int = 32
    encoders: int = 2  # that work in parallel
    max_waiting: int = 1 << 18  # tokens

    def step(self, rows: int) -> float:
        """Seconds of a step with so many rows."""
        at = bisect.bisect_left([known for known, _ in self.steps], rows)
        if at == 0:
            return self.steps[0][1]
        if at == len(self.steps):
            return self.steps[-1][1] * rows / self.steps[-1][0]
        (low, fast), (high, slow) = self.steps[at - 1 : at + 1]
        return fast + (slow - fast) * (rows - low) / (high - low)


@dataclass(slots=True)
class Text:
    """One request: its arrival, input tokens, new tokens, caller, and whether it is streamed.

    `first` is when it has its first token and `done` when it is answered (nan: refused).
    """

    at: float
    tokens: int
    new: int
    caller: str | None = None
    streamed: bool = False
    first: float = math.nan
    done: float = math.nan

    @property
    def latency(self) -> float:
        """Seconds from arrival to answer."""
        return self.done - self.at


@dataclass(slots=True)
class Running:
    """A text in the running batch."""

    text: Text
    caller: Caller[Text, Text]
    remaining: int  # tokens
    joined: float


class Replica:
    """One engine. Its clock is at the end of its last step."""

    def __init__(self, costs: Costs, ready: float = 0.0) -> None:
        self.costs, self.clock, self.ready = costs, ready, ready
        self.queue: FairQueue[Text, Text] = FairQueue()
        self.waiting, self.waiting_tokens = 0, 0
        self.running: list[Running] = []

    @property
    def outstanding(self) -> int:
        """Texts that wait or run."""
        return self.waiting + len(self.running)

    def submit(self, text: Text) -> None:
        """Queues a text, or refuses it if the queue is full. `advance` has to be called before with its arrival."""
        if self.waiting_tokens > self.costs.max_waiting:
            return
        if not self.outstanding:
            self.clock = max(self.clock, text.at)
        self.queue.enter(text.caller, 1.0, text.at).add(text, [text])
        self.waiting += 1
        self.waiting_tokens += text.tokens

    def advance(self, until: float) -> None:
        """Works until the time `until`, or until nothing is outstanding."""
        while self.clock < until and self.outstanding:
            self.step()

    def step(self) -> None:
        """Lets waiting texts join, and gives every running one a token."""
        costs, seconds = self.costs, 0.0
        batch = BatchState(
            free_rows=costs.rows - len(self.running),
            running_rows=len(self.running),
            efficient_rows=EFFICIENT_BATCH_ROWS,
            max_prefill_tokens=MAX_PREFILL_TOKENS * costs.encoders,
            oldest_start=min((running.joined for running in self.running), default=math.inf),
            most_rows=max((caller.rows for caller in self.queue.callers), default=0),
            is_shared=self.queue.is_shared(self.clock),
        )
        heavy = self.queue.heavy(self.clock)
        for caller, text, _ in self.queue.in_turn():  # as in Scheduler._joining
            is_ahead = caller in heavy and self.queue.is_ahead(caller)
            candidate = Candidate(1, text.tokens, text.at, caller.rows, is_streamed=text.streamed, is_ahead=is_ahead)
            if not may_join(candidate, batch):
                if not batch.has_room(candidate):
                    break
                continue
            batch = batch.admit(candidate)
            caller.pop()
            caller.rows += 1
            prefill = costs.prefill_text + costs.prefill_token * text.tokens
            self.queue.charge(caller, prefill, self.clock)
            seconds += prefill
            self.waiting -= 1
            self.waiting_tokens -= text.tokens
            self.running.append(Running(text, caller, text.new, self.clock + seconds))
        step = costs.step(len(self.running))
        self.clock += seconds + step
        for running in self.running:
            self.queue.charge(running.caller, step / len(self.running), self.clock)
            if running.remaining == running.text.new:
                running.text.first = self.clock + costs.overhead
            running.remaining -= 1
            if not running.remaining:
                running.text.done = self.clock + costs.overhead
                running.caller.rows -= 1
                self.queue.leave(running.caller, self.clock)
        self.running = [running for running in self.running if running.remaining]


def poisson(
    rate: float, seconds: float, draw: random.Random, lengths: tuple[int, int], new_tokens: tuple[int, int]
) -> Iterator[Text]:
    """Texts that arrive at `rate` a second on average, with uniformly drawn lengths."""
    now = draw.expovariate(rate)
    while now < seconds:
        yield Text(now, draw.randint(*lengths), draw.randint(*new_tokens))
        now += draw.expovariate(rate)


def capacity(costs: Costs, lengths: tuple[int, int], new_tokens: tuple[int, int]) -> float:
    """Texts a second of one replica that always has some waiting."""
    replica = Replica(replace(costs, max_waiting=1 << 60))
    for text in poisson(1e6, 1e-3, random.Random(1), lengths, new_tokens):
        text.at = 0.0
        replica.submit(text)
    count = replica.waiting
    replica.advance(math.inf)
    return count / replica.clock


def route(texts: list[Text], replicas: list[Replica], choices: int, draw: random.Random) -> None:
    """Sends each text to the least busy of `choices` random replicas.

    1 is a Kubernetes Service; 2 is what load balancers call the power of two choices (Mitzenmacher 2001).
    """
    for text in texts:
        drawn = [draw.choice(replicas) for _ in range(choices)]
        for replica in drawn:
            replica.advance(text.at)
        min(drawn, key=lambda replica: replica.outstanding).submit(text)
    for replica in replicas:
        replica.advance(math.inf)


def autoscale(
    texts: list[Text], costs: Costs, start: float, limit: int, draw: random.Random, rows: float = math.inf
) -> list[tuple[float, int]]:
    """Like `route` with one choice, with Kubernetes' autoscaler and at most `limit` replicas.

    Its targets for each replica are TARGET_TOKENS waiting tokens and `rows` running rows (inf: not a target), and the
    one that needs more replicas counts. A new replica works after `start` seconds. Returns (seconds, working replicas)
    at every decision.
    """
    replicas = [Replica(costs) for _ in range(MIN_REPLICAS)]
    decision, last_down, history = DECISION_SECONDS, 0.0, [(0.0, MIN_REPLICAS)]
    recent: deque[int] = deque([MIN_REPLICAS], maxlen=round(STABLE_SECONDS / DECISION_SECONDS))  # desired replicas
    for text in texts:
        while decision <= text.at:
            for replica in replicas:
                replica.advance(decision)
            working = [replica for replica in replicas if replica.ready <= decision]
            waiting = sum(replica.waiting_tokens for replica in working) / len(working) / TARGET_TOKENS
            running = sum(len(replica.running) for replica in working) / len(working) / rows
            usage = max(waiting, running)
            desired = len(replicas) if 0.9 <= usage <= 1.1 else math.ceil(len(working) * usage)
            recent.append(min(limit, max(MIN_REPLICAS, desired)))
            if recent[-1] > len(replicas):
                add = min(recent[-1], 2 * len(replicas)) - len(replicas)
                replicas += [Replica(costs, decision + start) for _ in range(add)]
            elif max(recent) < len(replicas) and decision - last_down >= DOWN_SECONDS:
                replicas.pop().advance(math.inf)  # it finishes its texts
                last_down = decision
            history.append((decision, sum(replica.ready <= decision for replica in replicas)))
            decision += DECISION_SECONDS
        replica = draw.choice([replica for replica in replicas if replica.ready <= text.at])
        replica.advance(text.at)
        replica.submit(text)
    for replica in replicas:
        replica.advance(math.inf)
    return history
