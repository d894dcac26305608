"""Does the mouth move with the speech? Zero-lag agreement and audio-visual offset, on speaking frames.

Scores read at the best offset (SyncNet's LSE-C and LSE-D) are blind to a constant delay: the headline is read at lag 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lpm.metric.clips import add_clip, add_clip_states, estimate_clips
from lpm.metric.signals import TOLERATED_UNREAD, Signal, fill_unread, frame_rate, mask, pearson, track
from lpm.metric.statistics import Estimate
from lpm.types import SAMPLE_RATE

MIN_FRAMES = 12


def aperture_agreement(
    aperture_T: Signal, truth_T: Signal, speaking_T: Signal | None = None, valid_T: Signal | None = None
) -> Tensor:
    """Return the zero-lag Pearson correlation of generated and true mouth aperture on speaking frames, in [-1, 1].

    NaN with fewer than 12 speaking frames or a constant truth; 0 when the generated mouth never moves. Unread frames
    (``valid`` False) are dropped up to 2 % of the clip and count as a failure beyond.
    """
    truth = track(truth_T, "true aperture")
    aperture = track(aperture_T, "aperture", len(truth))
    speaking, valid = mask(speaking_T, "speaking", len(truth)), mask(valid_T, "valid", len(truth))
    if (~valid).double().mean() <= TOLERATED_UNREAD:
        speaking = speaking & valid
    if speaking.sum() < MIN_FRAMES:
        return torch.tensor(float("nan"), dtype=torch.float64)
    return pearson(fill_unread(aperture, valid)[speaking], truth[speaking])


def loudness(samples_S: Signal, frames: int, fps: float, sample_rate: int = SAMPLE_RATE, floor: float = 1e-3) -> Tensor:
    """Return the log-RMS of speech per video frame in dB, (T,): band 100 Hz - 4 kHz, never below ``floor``.

    Frame i is heard during [i / fps, (i + 1) / fps); frames past the end of the audio are silent.
    """
    samples = track(samples_S, "samples")
    spectrum = torch.fft.rfft(samples)
    hertz = torch.fft.rfftfreq(len(samples), 1 / sample_rate)
    band = torch.fft.irfft(torch.where((hertz >= 100) & (hertz <= 4000), spectrum, 0), len(samples))
    edges = (torch.arange(frames + 1).double() / frame_rate(fps) * sample_rate).round().long()
    power = torch.cat([torch.zeros(1, dtype=torch.float64), (band**2).cumsum(0)])
    inside = power[edges.clamp(max=len(samples))].diff()
    return 20 * (inside.clamp(min=0) / edges.diff()).sqrt().clamp(min=floor).log10()


def lagged_correlation(
    aperture_T: Signal, loudness_T: Signal, speaking_T: Signal | None = None, max_lag: int = 15
) -> Tensor:
    """Return r(lag) for lag = -max_lag..max_lag frames, (2 max_lag + 1,); at lag > 0 the picture follows the sound.

    Lag k pairs loudness at speaking frame t with aperture at t + k. Undefined lags are NaN.
    """
    sound = track(loudness_T, "loudness")
    aperture = track(aperture_T, "aperture", len(sound))
    heard = mask(speaking_T, "speaking", len(sound)).nonzero()[:, 0]
    correlations = []
    for lag in range(-max_lag, max_lag + 1):
        inside = heard[(heard + lag >= 0) & (heard + lag < len(sound))]
        enough = len(inside) >= MIN_FRAMES
        correlations.append(pearson(aperture[inside + lag], sound[inside]) if enough else torch.tensor(float("nan")))
    return torch.stack([value.double() for value in correlations])


def zero_lag_sync(aperture_T: Signal, loudness_T: Signal, speaking_T: Signal | None = None) -> Tensor:
    """Return AV0, the correlation of aperture and log-RMS at lag 0 on speaking frames, in [-1, 1]."""
    return lagged_correlation(aperture_T, loudness_T, speaking_T, max_lag=0)[0]


def audio_visual_offset(
    aperture_T: Signal,
    loudness_T: Signal,
    fps: float,
    speaking_T: Signal | None = None,
    max_offset: float = 0.6,
    margin: float = 0.1,
) -> Tensor:
    """Return AVO, the offset of best correlation in milliseconds, > 0 when the sound is early (bench.md, AVO).

    The peak is interpolated by a parabola. NaN when it does not stand out: r(peak) - q90(r) <= ``margin``.
    """
    max_lag = round(max_offset * frame_rate(fps))
    r = lagged_correlation(aperture_T, loudness_T, speaking_T, max_lag)
    if r.isnan().any() or r.max() - r.quantile(0.9) <= margin:
        return torch.tensor(float("nan"), dtype=torch.float64)
    peak = int(r.argmax())
    shift = 0.0
    if 0 < peak < len(r) - 1:
        before, at, after = (float(value) for value in r[peak - 1 : peak + 2])
        shift = 0.5 * (before - after) / (before - 2 * at + after) if before - 2 * at + after < 0 else 0.0
    return torch.tensor((peak - max_lag + shift) * 1000 / fps, dtype=torch.float64)


class ApertureAgreement(Metric):
    """Mean over clips of ``aperture_agreement``, the headline of lip sync where the truth is known.

    >>> metric = ApertureAgreement()
    >>> wave = torch.linspace(0, 9, 48).sin()
    >>> metric.update(wave, 2 * wave + 1, identity="S1")
    >>> round(float(metric.compute().value), 3)
    1.0
    """

    higher_is_better = True
    full_state_update = False

    def __init__(self, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        add_clip_states(self)

    def update(
        self,
        aperture_T: Signal,
        truth_T: Signal,
        speaking_T: Signal | None = None,
        valid_T: Signal | None = None,
        identity: str | int = 0,
    ) -> None:
        """Add one clip."""
        add_clip(self, aperture_agreement(aperture_T, truth_T, speaking_T, valid_T), identity)

    def compute(self) -> Estimate:
        """Return the mean correlation of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


class ZeroLagSync(Metric):
    """Mean over clips of AV0, ``zero_lag_sync``: needs the audio only, no ground truth."""

    higher_is_better = True
    full_state_update = False

    def __init__(self, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        add_clip_states(self)

    def update(
        self, aperture_T: Signal, loudness_T: Signal, speaking_T: Signal | None = None, identity: str | int = 0
    ) -> None:
        """Add one clip."""
        add_clip(self, zero_lag_sync(aperture_T, loudness_T, speaking_T), identity)

    def compute(self) -> Estimate:
        """Return the mean correlation of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


class AudioVisualOffset(Metric):
    """Mean over clips of the absolute ``audio_visual_offset`` in milliseconds; clips without a peak are skipped."""

    higher_is_better = False
    full_state_update = False

    def __init__(self, fps: float, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.fps, self.resamples, self.seed = frame_rate(fps), resamples, seed
        add_clip_states(self)

    def update(
        self, aperture_T: Signal, loudness_T: Signal, speaking_T: Signal | None = None, identity: str | int = 0
    ) -> None:
        """Add one clip."""
        add_clip(self, audio_visual_offset(aperture_T, loudness_T, self.fps, speaking_T).abs(), identity)

    def compute(self) -> Estimate:
        """Return the mean absolute offset of all clips."""
        return estimate_clips(self, self.resamples, self.seed)
