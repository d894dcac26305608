"""The border of every metric: per-frame signals are checked here, once.

A signal is one number per frame, (T,), of any device; what is made of it is on the CPU. NaN is refused: a frame that a
reader could not read is marked in a ``valid`` mask instead, and says nothing for the model (``fill_unread``).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Signal = Tensor | np.ndarray
TOLERATED_UNREAD = 0.02


def track(values: Signal, name: str, frames: int | None = None) -> Tensor:
    """Return a finite float64 signal (T,), or raise ValueError naming the signal and the fault."""
    signal = torch.as_tensor(values).detach().cpu().double()
    if signal.ndim != 1 or len(signal) == 0:
        raise ValueError(f"{name} has shape {tuple(signal.shape)}; give one number per frame, (T,)")
    if frames is not None and len(signal) != frames:
        raise ValueError(f"{name} has {len(signal)} frames but the clip has {frames}; cut both to the same frames")
    return _finite(signal, name)


def tracks(values: Signal, name: str, frames: int | None = None, columns: int | None = None) -> Tensor:
    """Return finite float64 signals (T, N), or raise ValueError naming the fault."""
    signal = torch.as_tensor(values).detach().cpu().double()
    if signal.ndim != 2 or len(signal) == 0:
        raise ValueError(f"{name} has shape {tuple(signal.shape)}; give one row per frame, (T, N)")
    if frames is not None and len(signal) != frames:
        raise ValueError(f"{name} has {len(signal)} frames but the clip has {frames}; cut both to the same frames")
    if columns is not None and signal.shape[1] != columns:
        raise ValueError(f"{name} has {signal.shape[1]} columns; it needs {columns}")
    return _finite(signal, name)


def mask(values: Signal | None, name: str, frames: int) -> Tensor:
    """Return a boolean mask (T,), all True when None is given."""
    if values is None:
        return torch.ones(frames, dtype=torch.bool)
    keep = torch.as_tensor(values).cpu()
    if keep.dtype != torch.bool or keep.shape != (frames,):
        raise ValueError(f"{name} is {keep.dtype} {tuple(keep.shape)}; give one bool per frame, ({frames},)")
    return keep


def frame_rate(fps: float) -> float:
    """Return the frame rate, or raise ValueError unless it is positive and finite."""
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps is {fps}; give the video's frames a second, above 0")
    return fps


def fill_unread(signal_T: Tensor, valid_T: Tensor) -> Tensor:
    """Replace frames that could not be read by the mean of the others, so that they add nothing to a correlation.

    Unread frames are thereby a failure of the model, not dropped (bench.md, "Proposed metric set").
    """
    if valid_T.all():
        return signal_T
    if not valid_T.any():
        return torch.zeros_like(signal_T)
    return torch.where(valid_T, signal_T, signal_T[valid_T].mean())


def pearson(signal_N: Tensor, truth_N: Tensor) -> Tensor:
    """Return Pearson's correlation; 0 if only the signal is constant, NaN if the truth is constant or too short."""
    signal, truth = signal_N - signal_N.mean(), truth_N - truth_N.mean()
    if len(truth) < 2 or truth.abs().max() < 1e-9:
        return torch.tensor(float("nan"), dtype=torch.float64)
    if signal.abs().max() < 1e-9:
        return torch.tensor(0.0, dtype=torch.float64)
    return (signal @ truth) / (signal.norm() * truth.norm())


def _finite(signal: Tensor, name: str) -> Tensor:
    bad = (~signal.isfinite()).nonzero()
    if len(bad):
        raise ValueError(f"{name} is not finite at frame {int(bad[0, 0])}; mark unread frames in `valid` instead")
    return signal
