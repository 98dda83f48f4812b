"""How fast waiting tokens are admitted, from which a refused caller learns when to retry."""

HALF_LIFE = 10.0  # seconds of work after which a measurement counts half


class ThroughputEstimate:
    """A moving average of tokens a second over the time in which there was work. Not thread-safe."""

    def __init__(self) -> None:
        self._tokens, self._seconds = 2000.0, 1.0  # assumed before the first measurement

    def add(self, tokens: int, seconds: float) -> None:
        """Records that `tokens` left the queue in `seconds` of work."""
        decay = 0.5 ** (seconds / HALF_LIFE)
        self._tokens = self._tokens * decay + tokens
        self._seconds = self._seconds * decay + seconds

    @property
    def tokens_per_second(self) -> float:
        """The present rate."""
        return self._tokens / self._seconds

    def seconds_for(self, tokens: int) -> float:
        """How long `tokens` take at the present rate, in seconds; at least one."""
        return max(1.0, tokens * self._seconds / max(1.0, self._tokens))
