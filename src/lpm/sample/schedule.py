"""Where on the noise path guidance is on."""

from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[float], float]
"""Noise level t -> share of the guidance that holds there: 1 all of it, 0 none, which costs nothing."""


@dataclass(frozen=True)
class GuidanceInterval:
    """Guide while ``low < t <= high`` alone: early steps keep their variety, late ones their texture.

    Source: Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval Improves Sample and Distribution
    Quality in Diffusion Models"; its noise level sigma is ``t / (1 - t)`` on our path.

    >>> [GuidanceInterval(0.25, 0.9)(t) for t in (1.0, 0.9, 0.25)]
    [0.0, 1.0, 0.0]
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"guidance from t = {self.low} to {self.high}; choose 0 <= low < high <= 1")

    def __call__(self, t: float) -> float:
        """Return 1 inside the interval, else 0."""
        return float(self.low < t <= self.high)


def scales_at(scales: dict[str, float], schedule: Schedule | None, t: float) -> dict[str, float]:
    """Return the scales that hold at noise level ``t``; None guides alike everywhere.

    >>> scales_at({"speak": 3.0}, lambda t: t, 0.5)
    {'speak': 2.0}
    """
    if schedule is None:
        return scales
    share = schedule(t)
    return {stream: 1 + share * (scale - 1) for stream, scale in scales.items()}
