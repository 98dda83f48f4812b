"""Work that requests bring, counted in what is computed, and how long it takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from precis.runtime.kv_cache import KVCache
from precis.scheduling.sequence import Sequence
from precis.scheduling.throughput import ThroughputEstimate

# (units, seconds) that are assumed until so many seconds are measured: fast, so that nothing is refused because of
# them, and long, so that a pause of the machine in an idle hour says little. Of decoding a warm-up says more.
PREFILL_RATE = (100_000.0, 5.0)
DECODE_RATE = (100_000.0, 5.0)
RANKING_RATE = (100_000.0, 5.0)
FURTHER_ROW = 0.25  # of the time of a one-row step, added by each further row on CPUs: eight take 2.8 times as long
LENGTH_MEMORY = 0.95  # weight of the lengths known before in the mean with a further one


@dataclass
class Work:
    """`tokens` to prefill, `row_steps` to decode (rows times steps), and `ranked_tokens` of sentences to score."""

    tokens: float = 0.0
    row_steps: float = 0.0
    ranked_tokens: float = 0.0

    def add(self, other: "Work", sign: int = 1) -> None:
        """Adds `other`, or subtracts it if `sign` is -1."""
        self.tokens += sign * other.tokens
        self.row_steps += sign * other.row_steps
        self.ranked_tokens += sign * other.ranked_tokens

    def at_most(self, other: "Work") -> "Work":
        """The less of the two, of each kind."""
        return Work(
            min(self.tokens, other.tokens),
            min(self.row_steps, other.row_steps),
            min(self.ranked_tokens, other.ranked_tokens),
        )

    def scaled(self, factor: float) -> "Work":
        """`factor` times the work."""
        return Work(factor * self.tokens, factor * self.row_steps, factor * self.ranked_tokens)


@dataclass
class WorkCosts:
    """How much work a sequence is, and how many seconds work takes, as measured lately. Not thread-safe."""

    prefill: ThroughputEstimate = field(default_factory=lambda: ThroughputEstimate(*PREFILL_RATE))
    decode: ThroughputEstimate = field(default_factory=lambda: ThroughputEstimate(*DECODE_RATE))
    ranking: ThroughputEstimate = field(default_factory=lambda: ThroughputEstimate(*RANKING_RATE))
    length: float = 1.0  # of a finished sequence, as a fraction of the longest that was allowed

    def of(self, sequence: Sequence) -> Work:
        """The work that `sequence` is expected to be. Most end before the longest allowed summary."""
        source = len(sequence.input_ids)
        if sequence.is_ranking:
            return Work(source, ranked_tokens=sequence.tokens - source)
        params = sequence.params
        steps = max(params.min_new_tokens, self.length * params.max_new_tokens)
        return Work(source, sequence.rows * steps)

    def of_later_stages(self, sequences: list[Sequence]) -> Work:
        """The work after that of `sequences`, the chunks of a long text: the summaries of their summaries, to one."""
        later, first, count = Work(), sequences[0], len(sequences)
        if first.is_ranking:
            return later
        steps = self.of(first).row_steps / first.rows
        longest_source = max(len(sequence.input_ids) for sequence in sequences)
        while count > 1:
            joined = count * steps
            fewer = math.ceil(joined / longest_source)
            count = fewer if fewer < count else 1
            later.add(Work(min(joined, count * longest_source), count * first.rows * steps))
        return later

    def rates(self) -> Callable[[Work], float]:
        """How long work takes, at the rates of this moment."""
        prefill, decode, ranking = (rate.seconds_for(1.0) for rate in (self.prefill, self.decode, self.ranking))
        return lambda work: work.tokens * prefill + work.row_steps * decode + work.ranked_tokens * ranking

    def note_step(self, rows: int, cache: KVCache, seconds: float) -> None:
        """Records a decode step. One of few rows counts as the rows that an efficient step would do in its time."""
        share = FURTHER_ROW if cache.efficient_rows < cache.rows else 0.0  # steps on GPUs take equally long
        efficient = max(rows, cache.efficient_rows)
        self.decode.add(efficient * (1 + share * (rows - 1)) / (1 + share * (efficient - 1)), seconds)

    def note_length(self, sequence: Sequence) -> None:
        """Records the length of a finished sequence; a ranking generates none."""
        if sequence.is_ranking:
            return
        fraction = len(sequence.token_ids) / sequence.params.max_new_tokens
        self.length = LENGTH_MEMORY * self.length + (1 - LENGTH_MEMORY) * fraction
