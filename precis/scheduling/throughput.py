"""How fast work is done, from which the time of waiting work is estimated."""

import time

HALF_LIFE = 10.0  # seconds of work after which a measurement counts half
IDLE_HALF_LIFE = 60.0  # seconds after which it counts half in any case


class ThroughputEstimate:
    """A moving average of units of work (tokens, say) a second, over the time in which there was work.

    It begins as `units` in `seconds`, and fades to that while nothing is measured: an estimate that is so low that all
    work is refused would otherwise stay. Not thread-safe.
    """

    def __init__(self, units: float = 2000.0, seconds: float = 1.0) -> None:
        self._initial = units, seconds
        self._units = self._seconds = 0.0
        self._measured_at = time.monotonic()

    def add(self, units: float, seconds: float) -> None:
        """Records that `units` were done in `seconds` of work."""
        decay = 0.5 ** (seconds / HALF_LIFE)
        present_units, present_seconds = self._present()
        self._units, self._seconds = present_units * decay + units, present_seconds * decay + seconds
        self._measured_at = time.monotonic()

    @property
    def per_second(self) -> float:
        """The present rate."""
        units, seconds = self._present()
        confidence = min(1.0, seconds / self._initial[1])
        return (units + (1 - confidence) * self._initial[0]) / (seconds + (1 - confidence) * self._initial[1])

    def seconds_for(self, units: float) -> float:
        """How long `units` take at the present rate."""
        return units / max(1e-9, self.per_second)

    def _present(self) -> tuple[float, float]:
        fading = 0.5 ** ((time.monotonic() - self._measured_at) / IDLE_HALF_LIFE)
        return self._units * fading, self._seconds * fading
