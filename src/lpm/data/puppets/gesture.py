"""Curves of single movements over time, and smooth chance motion."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.behaviour import RULE


def bump(times: np.ndarray, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """Return a smooth 0 -> 1 -> 0 curve (N,) with the given durations in seconds; ``times`` rise.

    >>> bump(np.array([0.0, 0.5, 1.0, 2.0]), 0.0, 1.0, 0.5, 0.5).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """
    curve, stop = np.zeros(len(times)), start + rise + hold + fall
    inside = slice(*np.searchsorted(times, (start, stop)))
    moments = times[inside]
    share = np.clip(np.minimum((moments - start) / rise, (stop - moments) / fall), 0, 1)
    curve[inside] = share * share * (3 - 2 * share)
    return curve


def nod(times: np.ndarray, start: float, count: int, size: float) -> np.ndarray:
    """Return head pitch (N,) in degrees of ``count`` decaying nods."""
    half = RULE.nod_period / 2
    nods = (
        size * RULE.nod_decay**index * bump(times, start + index * RULE.nod_period, half, 0.0, half)
        for index in range(count)
    )
    return np.sum(list(nods), axis=0)


def shake(times: np.ndarray, start: float, seconds: float, size: float, rate: float) -> np.ndarray:
    """Return an oscillation (N,) of ``rate`` Hz under a smooth envelope; in degrees when ``size`` is."""
    ramp = min(0.25, seconds / 3)
    envelope = bump(times, start, ramp, seconds - 2 * ramp, ramp)
    return size * envelope * np.sin(2 * np.pi * rate * (times - start))


def blink(times: np.ndarray, start: float) -> np.ndarray:
    """Return lid closure (N,) in [0, 1]: closes fast, opens slowly (VanderWerf et al. 2003)."""
    return bump(times, start, RULE.blink_close, RULE.blink_hold, RULE.blink_open)


def sway(times: np.ndarray, rng: np.random.Generator, correlation: float) -> np.ndarray:
    """Return smooth noise (N,) of unit deviation whose correlation falls over ``correlation`` seconds."""
    step = times[1] - times[0]
    coarse = max(1, int(correlation / 4 / step))  # knots dense enough for the kernel, sparse enough to be quick
    knots = len(times) // coarse + 24
    kernel = np.exp(-0.5 * (np.arange(-10, 11) / 4) ** 2)
    smooth = np.convolve(rng.standard_normal(knots + 20), kernel / np.linalg.norm(kernel), mode="valid")
    return _cubic(np.arange(len(times)) / coarse, smooth)


def fixations(times: np.ndarray, rng: np.random.Generator, size: float, mean_seconds: float = 0.9) -> np.ndarray:
    """Return small gaze jumps (N, 2) of deviation ``size``, held for exponential times."""
    length = times[-1] - times[0]
    count = int(length / mean_seconds * 2) + 8
    starts = np.concatenate([[0.0], np.cumsum(rng.exponential(mean_seconds, count) + 0.2)])
    targets = rng.normal(0, size, (count + 1, 2))
    index = np.searchsorted(starts, times - times[0], side="right") - 1
    progress = np.clip((times - times[0] - starts[index]) / 0.04, 0, 1)[:, None]  # a small saccade lasts about 40 ms
    return targets[np.maximum(index - 1, 0)] * (1 - progress) + targets[index] * progress


def poisson_times(rng: np.random.Generator, rate: float, refractory: float, seconds: float) -> list[float]:
    """Return event times in [0, seconds) of a Poisson process with dead time."""
    times: list[float] = []
    moment = rng.exponential(1 / rate)
    while moment < seconds:
        times.append(moment)
        moment += refractory + rng.exponential(1 / rate)
    return times


def _cubic(position: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Catmull-Rom interpolation at fractional indices."""
    index = position.astype(int)
    t = position - index
    before, left, right, after = (knots[np.clip(index + k, 0, len(knots) - 1)] for k in (-1, 0, 1, 2))
    return left + 0.5 * t * (
        right - before + t * (2 * before - 5 * left + 4 * right - after + t * (3 * (left - right) + after - before))
    )
