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
        self._best = 0.0  # units a second

    def assume_best(self) -> None:
        """Assumes, instead of what it began as, the highest rate that has been measured: that of no pauses."""
        if self._best:
            seconds = self._initial[1]
            self._initial = self._best * seconds, seconds

    def add(self, units: float, seconds: float) -> None:
        """Records that `units` were done in `seconds` of work."""
        if seconds:
            self._best = max(self._best, units / seconds)
        decay = 0.5 ** (seconds / HALF_LIFE)
        present_units, present_seconds = self._present()
        self._units, self._seconds = present_units * decay + units, present_seconds * decay + seconds
        self._measured_at = time.monotonic()

    @property
    def per_second(self) -> float:
        """The present rate."""
        return 1 / self._seconds_per_unit

    def seconds_for(self, units: float) -> float:
        """How long `units` take at the present rate."""
        return units * self._seconds_per_unit

    @property
    def _seconds_per_unit(self) -> float:
        """Times are averaged, not rates: a rate that is assumed too high would outweigh what is measured."""
        initial_units, initial_seconds = self._initial
        units, seconds = self._present()
        confidence = min(1.0, seconds / initial_seconds) if units else 0.0
        measured = seconds / units if units else 0.0
        return confidence * measured + (1 - confidence) * initial_seconds / initial_units

    def _present(self) -> tuple[float, float]:
        fading = 0.5 ** ((time.monotonic() - self._measured_at) / IDLE_HALF_LIFE)
        return self._units * fading, self._seconds * fading
