"""Does it move at all, and as much as it should? Every consistency score is gated by these: a still video is steady."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lpm.metric.clips import add_clip, add_clip_states, estimate_clips
from lpm.metric.signals import Signal, frame_rate, mask, track, tracks
from lpm.metric.statistics import Estimate

SMOOTH = 5


def still_windows(signals_TN: Signal, noise_N: Signal, fps: float) -> Tensor:
    """Return which 1-s windows (one per frame at which a window fits) are frozen, (T - fps + 1,) bool.

    A window is frozen when the standard deviation of every signal is below three times the reader's noise.
    """
    signals = tracks(signals_TN, "signals")
    noise = track(noise_N, "readout noise", signals.shape[1])
    window = round(frame_rate(fps))
    if len(signals) < max(window, 2):
        raise ValueError(f"clip of {len(signals)} frames is below one window of {window}; give one second or more")
    spread_WN = signals.unfold(0, max(window, 2), 1).std(-1)
    return (spread_WN < 3 * noise).all(1)


def freeze(signals_TN: Signal, noise_N: Signal, fps: float) -> Tensor:
    """Return FRZ, the share of 1-s windows in which nothing moves beyond the reader's noise, in [0, 1]."""
    return still_windows(signals_TN, noise_N, fps).double().mean()


def longest_freeze(signals_TN: Signal, noise_N: Signal, fps: float) -> float:
    """Return the longest stretch in which nothing moves beyond the reader's noise, in seconds."""
    longest = run = 0
    for frozen in still_windows(signals_TN, noise_N, fps).tolist():
        run = run + 1 if frozen else 0
        longest = max(longest, run)
    return (longest + max(round(fps), 2) - 1) / fps if longest else 0.0


def energy_ratio(signals_TN: Signal, truth_TN: Signal, floor: float = 1e-3) -> Tensor:
    """Return ENR, log(mean speed / mean true speed): 0 is as lively as the truth, < 0 damped, > 0 over-acted.

    Speed is the length of the step between frames over the N signals; scale them to comparable units first. ``floor``
    (per frame) keeps a still clip finite.
    """
    truth = tracks(truth_TN, "true signals")
    signals = tracks(signals_TN, "signals", columns=truth.shape[1])
    if len(signals) < 2 or len(truth) < 2:
        raise ValueError(f"speed needs two or more frames, not {min(len(signals), len(truth))}; give a longer clip")
    speed, true_speed = (s.diff(dim=0).norm(dim=1).mean() for s in (signals, truth))
    return ((speed + floor) / (true_speed + floor)).log()


def mean_speed(signals_TN: Signal, fps: float, counted_T: Signal | None = None, smooth: int = SMOOTH) -> Tensor:
    """Return the mean speed of N signals per second on the counted frames; NaN where there are none.

    Signals are averaged over ``smooth`` frames first: the jitter of a reader, or of a model, is no motion. Where people
    listen they move little, and unsmoothed most of what is read would be jitter.
    """
    signals = tracks(signals_TN, "signals")
    counted = mask(counted_T, "counted", len(signals))
    if len(signals) <= smooth:
        raise ValueError(f"clip of {len(signals)} frames is smoothed over {smooth}; give a longer one")
    speed = signals.unfold(0, smooth, 1).mean(-1).diff(dim=0).norm(dim=1) * frame_rate(fps)
    return speed[counted.unfold(0, smooth + 1, 1).all(1)].mean()


class Freeze(Metric):
    """Mean over clips of ``freeze``.

    >>> metric = Freeze(fps=4, noise=[0.01])
    >>> metric.update(torch.zeros(8, 1))
    >>> float(metric.compute().value)
    1.0
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, fps: float, noise: list[float], resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.fps, self.noise, self.resamples, self.seed = frame_rate(fps), noise, resamples, seed
        add_clip_states(self)

    def update(self, signals_TN: Signal, identity: str | int = 0) -> None:
        """Add one clip; its columns are in the order of ``noise``."""
        add_clip(self, freeze(signals_TN, torch.tensor(self.noise), self.fps), identity)

    def compute(self) -> Estimate:
        """Return the mean frozen share of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


class EnergyRatio(Metric):
    """Mean over clips of ``energy_ratio``; the target is 0, so neither direction is better."""

    higher_is_better = None
    full_state_update = False

    def __init__(self, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        add_clip_states(self)

    def update(self, signals_TN: Signal, truth_TN: Signal, identity: str | int = 0) -> None:
        """Add one clip and its ground truth."""
        add_clip(self, energy_ratio(signals_TN, truth_TN), identity)

    def compute(self) -> Estimate:
        """Return the mean log ratio of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


class MeanSpeed(Metric):
    """Mean over clips of ``mean_speed``; compare it with the truth's, or with another model's (``ratio``).

    >>> metric = MeanSpeed(fps=2.0)
    >>> metric.update(torch.arange(12.0)[:, None], identity="S1")
    >>> float(metric.compute().value)
    2.0
    """

    higher_is_better = None
    full_state_update = False

    def __init__(self, fps: float, smooth: int = SMOOTH, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.fps, self.smooth, self.resamples, self.seed = frame_rate(fps), smooth, resamples, seed
        add_clip_states(self)

    def update(self, signals_TN: Signal, counted_T: Signal | None = None, identity: str | int = 0) -> None:
        """Add one clip."""
        add_clip(self, mean_speed(signals_TN, self.fps, counted_T, self.smooth), identity)

    def compute(self) -> Estimate:
        """Return the mean speed of all clips."""
        return estimate_clips(self, self.resamples, self.seed)
