"""From a whole sample to one training clip: a window of frames with its sound, states, truth and references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lpm.data.audio import from_int16
from lpm.data.pictures import STRIDE, Pictures
from lpm.data.references import draw_references, kinds
from lpm.data.schema import Sample, SchemaError, states_to_frames
from lpm.data.stages import decode
from lpm.types import SAMPLE_RATE


@dataclass
class Clip:
    """One window, as numpy: T frames, S audio samples, R references; ``collate`` makes a ``Batch`` of several."""

    key: str
    fps: float
    speak_S: np.ndarray
    listen_S: np.ndarray
    history: float
    text: str
    state_T: np.ndarray
    kind_R: np.ndarray
    sub_kind_R: np.ndarray
    video_THWC: np.ndarray | None = None
    latents_TCYX: np.ndarray | None = None
    loser_TCYX: np.ndarray | None = None
    points_STCYX: np.ndarray | None = None
    reference_RHWC: np.ndarray | None = None
    reference_RCYX: np.ndarray | None = None
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    given: int = 1


def random_start(total: int, frames: int, rng: np.random.Generator) -> int:
    """Draw the first frame of a window, a multiple of 4, evenly among those that fit in ``total`` frames."""
    return STRIDE * int(rng.integers((total - frames) // STRIDE + 1))


def early_start(total: int, frames: int, rng: np.random.Generator, share: float = 0.5) -> int:
    """Start at frame 0 in ``share`` of the windows, where a clip may show what its first picture hides; else anywhere.

    >>> early_start(97, 33, np.random.default_rng(0), share=1.0)
    0
    """
    return 0 if rng.random() < share else random_start(total, frames, rng)


def first_start(total: int, frames: int, rng: np.random.Generator) -> int:
    """Start at frame 0, as validation does."""
    return 0


def last_start(total: int, frames: int, rng: np.random.Generator) -> int:
    """Start as late as the clip allows."""
    return STRIDE * ((total - frames) // STRIDE)


@dataclass(frozen=True)
class Beginning:
    """How a window begins: with frame ``anchor`` of the clip, and with ``given`` latent frames that are not to be made.

    ``given`` 1 with the window's own first frame begins a clip. More continue one: the first picture, far back perhaps,
    then the frames just before those to make.
    """

    anchor: int
    given: int = 1


def begin(start: int, rng: np.random.Generator) -> Beginning:
    """Begin a clip at the window's first frame."""
    return Beginning(start)


def begin_or_continue(start: int, rng: np.random.Generator, share: float = 0.5, most: int = 2) -> Beginning:
    """Continue a clip in ``share`` of the windows, from one of its earlier pictures and 1 to ``most`` latent frames.

    A model that has learnt both can go on for ever, and always looks back at a picture that it did not make
    (LPM 1.0, long video: a clean reference in every block).
    """
    if rng.random() >= share:
        return Beginning(start)
    return Beginning(STRIDE * int(rng.integers(start // STRIDE + 1)), 1 + int(rng.integers(1, most + 1)))


def continue_from_causal(
    start: int, rng: np.random.Generator, share: float = 0.5, most: int = 2, least_drop: int = 2, most_drop: int = 5
) -> Beginning:
    """Begin or continue, but never continue from the clip's first latent frames: 2 to 5 of them, drawn anew each time.

    Those were encoded with little or no past, unlike what a model continues from later: latents in the middle of a
    video. A window that starts inside the drop begins a clip instead. Source: LPM 1.0, long video, drops the first 2 to
    5 ground-truth latents at random, so that continuation starts from causal latents.
    """
    drop = int(rng.integers(least_drop, most_drop + 1))
    if start < STRIDE * drop:
        return Beginning(start)
    return begin_or_continue(start, rng, share, most)


def continue_performance(start: int, rng: np.random.Generator, given: int = 2) -> Beginning:
    """Continue from the clip's first picture and ``given`` latent frames, as ``PerformanceModel.perform`` does."""
    return Beginning(0, 1 + given if start else 1)


def cut_audio(samples: np.ndarray, start: float, seconds: float) -> np.ndarray:
    """Cut ``seconds`` from ``start`` (may be negative) out of (S,) at 16 kHz, with zeros beyond both ends.

    >>> cut_audio(np.ones(16000, np.float32), start=-0.5, seconds=2.0).sum()
    np.float32(16000.0)
    """
    first, count = round(start * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    cut = np.zeros(count, np.float32)
    low, high = max(first, 0), min(first + count, len(samples))
    if high > low:
        piece = samples[low:high]
        cut[low - first : high - first] = from_int16(piece) if piece.dtype == np.int16 else piece
    return cut


@dataclass(frozen=True)
class Cut:
    """Cuts one clip out of a sample.

    Args:
        frames: window length, 1 + 4k.
        pictures: sources of pictures, such as ``[Latents()]``; none for sound alone, which needs a voice only.
        history: seconds of audio before the first frame.
        lookahead: seconds of audio after the last frame.
        fps: when given, the rate of every clip, since a batch needs one; samples that differ by above 0.01 are dropped.
        start: chooses the first frame: ``random_start``, ``early_start``, ``first_start`` or ``last_start``.
        references: chooses the references: ``draw_references`` or ``all_references``.
        beginning: chooses how the window begins: ``begin``, ``begin_or_continue`` or ``continue_from_causal``.
    """

    frames: int
    pictures: Sequence[Pictures]
    history: float = 0.0
    lookahead: float = 0.0
    fps: float | None = None
    start: Callable[[int, int, np.random.Generator], int] = random_start
    references: Callable[[Sequence[dict[str, Any]], np.random.Generator], list[int]] = draw_references
    beginning: Callable[[int, np.random.Generator], Beginning] = begin

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % STRIDE != 1:
            below = max(1, self.frames - (self.frames - 1) % STRIDE)
            raise ValueError(f"window of {self.frames} frames is not 1 + 4k; take {below} or {below + STRIDE}")
        if self.history < 0 or self.lookahead < 0:
            raise ValueError(f"history {self.history} and lookahead {self.lookahead} must be 0 seconds or more")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Clip:
        """Return the clip; raises SchemaError when the sample is short, of another rate, incomplete or unreadable."""
        meta = sample["json"]
        self._check(sample)
        fps = float(meta["fps"] if self.fps is None else self.fps)
        start = self.start(meta["frames"], self.frames, rng)
        first = start / meta["fps"]
        listed = meta.get("references", [])
        if self.pictures and not listed:
            raise SchemaError("no reference", "0 references; give at least one picture of the character")
        rows = self.references(listed, rng)
        kind_R, sub_kind_R = kinds([listed[row] for row in rows])
        beginning = self.beginning(start, rng)
        parts = [source(sample, start, self.frames, rows, beginning.anchor) for source in self.pictures]
        return Clip(
            key=sample["__key__"],
            fps=fps,
            speak_S=self._audio(sample, "speak.wav", first, fps),
            listen_S=self._audio(sample, "listen.wav", first, fps),
            history=self.history,
            text=meta.get("caption", ""),
            state_T=states_to_frames(meta["states"], meta["frames"])[start : start + self.frames],
            kind_R=kind_R,
            sub_kind_R=sub_kind_R,
            truth=_cut_truth(sample, start, self.frames),
            meta={"identity": sample["__key__"], **meta, "start": start},  # nameless: somebody of one's own
            given=min(beginning.given, max(1, (self.frames - 1) // STRIDE)),  # something must be left to make
            **{name: value for part in parts for name, value in part.items()},
        )

    def _check(self, sample: Sample) -> None:
        meta = sample["json"]
        if meta["frames"] < self.frames:
            raise SchemaError("short", f"{meta['frames']} frames are below the window of {self.frames}; shorten it")
        if self.fps is not None and abs(meta["fps"] - self.fps) > 0.01:
            raise SchemaError("fps", f"{meta['fps']} frames a second, {self.fps} are wanted; convert the clip")
        if not self.pictures and not {"speak.wav", "listen.wav"} & sample.keys():
            raise SchemaError("no sound", "neither speak.wav nor listen.wav; give at least one of the voices")

    def _audio(self, sample: Sample, name: str, start: float, fps: float) -> np.ndarray:
        samples = decode(sample, name) if name in sample else np.zeros(0, np.float32)
        return cut_audio(samples, start - self.history, self.history + self.frames / fps + self.lookahead)


def _cut_truth(sample: Sample, start: int, frames: int) -> dict[str, np.ndarray]:
    if "truth.npz" not in sample:
        return {}
    truth = decode(sample, "truth.npz")
    if not {"controls", "names"} <= truth.keys():
        raise SchemaError("truth", f"truth.npz holds {sorted(truth)}, not controls and names; rebuild it")
    controls, names = truth["controls"], truth["names"]
    if controls.ndim != 2 or controls.shape[1:] != names.shape:
        found = f"controls of shape {controls.shape} and names of shape {names.shape}"
        raise SchemaError("truth", f"truth.npz holds {found}, not (T, K) and (K,); rebuild it")
    window = controls[start : start + frames]
    if len(window) < frames:
        raise SchemaError("truth", f"truth covers {len(controls)} of {start + frames} frames; rebuild it")
    return {str(name): window[:, column] for column, name in enumerate(names)}
