"""A figure: one measured number, what it is measured against, its target, and what limits it."""

from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    ``value`` is in ``unit``; ``at_least`` or ``at_most`` is the target (None: for the record only).
    ``seconds`` keeps every single time behind the value, by side.
    """

    case: str
    against: str
    value: float
    unit: str
    limit: str
    at_least: float | None = None
    at_most: float | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def reached(self):
        """Whether the target is met; true where there is none."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def record(self):
        """The figure as plain values for JSON."""
        return {**asdict(self), "reached": self.reached}


def speedup(seconds, ours, peer):
    """How many times faster the best run of ``ours`` is than the best run of ``peer``."""
    return min(seconds[peer]) / min(seconds[ours])


def median_speedup(seconds, ours, peer):
    """The same of the medians: far from :func:`speedup`, the machine was disturbed."""
    return median(seconds[peer]) / median(seconds[ours])
