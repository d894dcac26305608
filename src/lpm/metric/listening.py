"""Does the listener keep its mouth still, and does it react to the partner rather than at random?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lpm.metric.clips import add_clip, add_clip_states, add_lists, estimate_clips, identity_code
from lpm.metric.signals import Signal, frame_rate, mask, track
from lpm.metric.statistics import Estimate, resample_counts, resampling_units

CUE_WIDTH = 0.08
MIN_SHIFT = 3.0
ENOUGH_CLIPS = 10


def false_lip_motion(
    aperture_T: Signal,
    listening_T: Signal,
    truth_T: Signal | None = None,
    threshold: float = 0.12,
    min_frames: int = 3,
) -> Tensor:
    """Return FLM, the share of listening frames inside a false lip motion, in [0, 1].

    A false motion is a run of at least ``min_frames`` listening frames with the aperture above ``threshold`` and above
    the 99th percentile of the true aperture on listening frames. NaN without listening frames.
    """
    aperture = track(aperture_T, "aperture")
    listening = mask(listening_T, "listening", len(aperture))
    if not listening.any():
        return torch.tensor(float("nan"), dtype=torch.float64)
    if truth_T is not None:
        threshold = max(threshold, float(track(truth_T, "true aperture", len(aperture))[listening].quantile(0.99)))
    open_T = (listening & (aperture > threshold)).double()[None, None]
    run = torch.ones(1, 1, min_frames, dtype=torch.float64)
    started = (conv1d(open_T, run, padding=min_frames - 1) >= min_frames).double()
    inside = conv1d(started, run)[0, 0] > 0
    return inside[listening].double().mean()


def reaction(yaw_T: Signal, pitch_T: Signal, roll_T: Signal, smile_T: Signal, fps: float) -> Tensor:
    """Return the strength of visible reactions per frame, (T,): head speed + smile change.

    One unit is 10 degrees a second of head rotation or one unit of smile a second.
    """
    smile = track(smile_T, "smile")
    head = torch.stack([track(s, n, len(smile)) for s, n in ((yaw_T, "yaw"), (pitch_T, "pitch"), (roll_T, "roll"))])
    speed = head.diff(dim=1, prepend=head[:, :1]).norm(dim=0) * frame_rate(fps)
    return speed / 10 + smile.diff(prepend=smile[:1]).abs() * fps


def cue_train(times: Signal, frames: int, fps: float) -> Tensor:
    """Return the partner's cues (phrase ends, in seconds) as Gaussian bumps of 80 ms, (T,)."""
    seconds = torch.arange(frames).double() / frame_rate(fps)
    events = torch.as_tensor(times).cpu().double().reshape(-1, 1)
    return torch.exp(-(((seconds - events) / CUE_WIDTH) ** 2)).sum(0)


def contingency(cues_PT: Signal, reaction_T: Signal, listening_T: Signal, fps: float, max_lag: float = 2.0) -> Tensor:
    """Return T = max over lags 0..``max_lag`` s of corr(cues at t, reaction at t + lag), one per cue track, (P,).

    Only reactions on listening frames count. A track without cues or a still head gives 0, never NaN.
    """
    response = track(reaction_T, "reaction")
    cues = torch.as_tensor(cues_PT).cpu().double()
    if cues.ndim != 2 or cues.shape[1] != len(response):
        raise ValueError(f"cues have shape {tuple(cues.shape)}; give (P, {len(response)})")
    seen = mask(listening_T, "listening", len(response)).nonzero()[:, 0]
    best = torch.zeros(len(cues), dtype=torch.float64)
    for lag in range(round(max_lag * frame_rate(fps)) + 1):
        later = seen[seen >= lag]
        if len(later) < 2:
            break
        cue, answer = cues[:, later - lag], response[later]
        cue, answer = cue - cue.mean(1, keepdim=True), answer - answer.mean()
        best = torch.maximum(best, (cue @ answer) / (cue.norm(dim=1) * answer.norm()).clamp(min=1e-9))
    return best


def chance_tracks(cues: list[Tensor], clip: int, fps: float, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` cue tracks that clip did not hear, (count, T).

    They are other clips' tracks, repeated or cut to length. With fewer than 10 of those, half are the clip's own,
    shifted in a circle by 3 s or more, where it is at least 6 s long. Shifts are the lesser control: cues have their
    places in a conversation, which other clips keep and shifts do not, so that whoever moves in that rhythm, whatever
    is said, seems to react.
    """
    own = cues[clip]
    least = round(MIN_SHIFT * fps)
    others = [index for index in range(len(cues)) if index != clip]
    shifts = list(range(least, len(own) - least + 1))
    if not others and not shifts:
        raise ValueError("chance needs two or more clips, or one of at least 6 s; add clips")
    picks = torch.rand(count, 2, generator=generator)
    rows = []
    for kind, which in picks.tolist():
        if len(others) >= ENOUGH_CLIPS or (others and kind < 0.5) or not shifts:
            other = cues[others[int(which * len(others))]]
            rows.append(other.repeat(-(-len(own) // len(other)))[: len(own)])
        else:
            rows.append(own.roll(shifts[int(which * len(shifts))]))
    return torch.stack(rows)


class FalseLipMotion(Metric):
    """Share of all listening frames inside a false lip motion, ``false_lip_motion`` weighted by listening frames.

    >>> metric = FalseLipMotion()
    >>> metric.update(torch.tensor([0.0, 0.5, 0.5, 0.5]), torch.ones(4, dtype=torch.bool))
    >>> float(metric.compute().value)
    0.75
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, threshold: float = 0.12, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.threshold, self.resamples, self.seed = threshold, resamples, seed
        add_clip_states(self)

    def update(
        self, aperture_T: Signal, listening_T: Signal, truth_T: Signal | None = None, identity: str | int = 0
    ) -> None:
        """Add one clip."""
        share = false_lip_motion(aperture_T, listening_T, truth_T, self.threshold)
        add_clip(self, share, identity, weight=float(torch.as_tensor(listening_T).sum()))

    def compute(self) -> Estimate:
        """Return the share over all listening frames."""
        return estimate_clips(self, self.resamples, self.seed)


class ContingencyZ(Metric):
    """CTZ: how far reactions follow the partner's cues beyond chance, in standard deviations (bench.md, CTZ).

    The mean of ``contingency`` over the clips is compared with the same mean when every clip is paired with cues that
    it did not hear (``chance_tracks``). Clips without listening frames or without cues are
    skipped; a single clip has no chance to compare with, so its score is NaN.
    """

    higher_is_better = True
    full_state_update = False
    cues: list[Tensor]
    reactions: list[Tensor]
    listening: list[Tensor]
    lengths: list[Tensor]
    clusters: list[Tensor]

    def __init__(self, fps: float, permutations: int = 200, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        if permutations < 200:
            raise ValueError(f"{permutations} permutations are too few for a standard deviation; use 200 or more")
        self.fps, self.permutations, self.resamples, self.seed = frame_rate(fps), permutations, resamples, seed
        add_lists(self, "cues", "reactions", "listening", "lengths", "clusters")

    def update(self, cues_T: Signal, reaction_T: Signal, listening_T: Signal, identity: str | int = 0) -> None:
        """Add one clip: ``cue_train`` of the partner, ``reaction`` of the character, and where it listens."""
        cues = track(cues_T, "cues")
        self.reactions.append(track(reaction_T, "reaction", len(cues)).to(self.device))
        self.listening.append(mask(listening_T, "listening", len(cues)).to(self.device))
        self.cues.append(cues.to(self.device))
        self.lengths.append(torch.tensor([len(cues)], device=self.device))
        self.clusters.append(torch.tensor([identity_code(identity)], device=self.device))

    def compute(self) -> Estimate:
        """Return z over the set; its interval resamples how far clips are beyond chance, in the set's own deviations.

        Chance itself is not resampled: a set that holds a clip twice has a wider chance than one of as many clips.
        """
        if not len(self.lengths):
            raise ValueError("ContingencyZ has seen no clip; call update first")
        lengths = dim_zero_cat(self.lengths).cpu().tolist()
        joined = [dim_zero_cat(s).cpu() for s in (self.cues, self.reactions, self.listening)]
        cues, reactions, listening = (list(s.split(lengths)) for s in joined)
        kept = [i for i in range(len(lengths)) if listening[i].any() and cues[i].max() > 0.1]
        if len(kept) < 2:  # chance is the other clips' cues
            nan = torch.tensor(float("nan"), dtype=torch.float64)
            return Estimate(nan, nan, nan, torch.tensor(0), torch.tensor(len(lengths)))
        skipped = torch.tensor(len(lengths) - len(kept))
        scores = self._scores([cues[i] for i in kept], [reactions[i] for i in kept], [listening[i] for i in kept])
        units = resampling_units(dim_zero_cat(self.clusters).cpu()[kept])
        counts = resample_counts(int(units.max()) + 1, self.resamples, self.seed)[:, units]
        deviation = scores[:, 1:].mean(0).std() + 1e-6  # a still listener is at 0, not at 0 / 0
        beyond = (scores[:, 0] - scores[:, 1:].mean(1)) / deviation
        spread = counts @ beyond / counts.sum(1)
        return Estimate(beyond.mean(), spread.quantile(0.025), spread.quantile(0.975), torch.tensor(len(kept)), skipped)

    def _scores(self, cues: list[Tensor], reactions: list[Tensor], listening: list[Tensor]) -> Tensor:
        """Contingency of every clip with its own cues (column 0) and with chance cues, (clips, 1 + permutations)."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = []
        for clip, own in enumerate(cues):
            chance = chance_tracks(cues, clip, self.fps, self.permutations, generator)
            rows.append(contingency(torch.cat([own[None], chance]), reactions[clip], listening[clip], self.fps))
        return torch.stack(rows)
