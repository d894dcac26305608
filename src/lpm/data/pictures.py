"""Where the pictures of a clip come from: the mp4, or latents a codec wrote beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lpm.data.references import reference_pixels
from lpm.data.schema import Sample, SchemaError
from lpm.data.stages import decode
from lpm.data.video import read_video

STRIDE = 4  # frames in a latent frame; windows start at its multiples, so that latents can be cut as pixels are


class Pictures(Protocol):
    """Where a clip's pictures come from: ``Pixels`` or ``Latents``."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Suffixes of the files it reads."""
        ...

    def __call__(
        self, sample: Sample, start: int, frames: int, references: Sequence[int], anchor: int
    ) -> dict[str, np.ndarray]:
        """Return the picture fields of ``Clip`` for the chosen references and the window, its frame 0 replaced by the
        clip's frame ``anchor`` (``start`` for none).
        """
        ...


class Pixels:
    """Decodes the window from ``mp4`` and the references from ``ref.NN.png``."""

    fields = ("mp4", "png")

    def __call__(
        self, sample: Sample, start: int, frames: int, references: Sequence[int], anchor: int
    ) -> dict[str, np.ndarray]:
        """Return ``video_THWC`` and ``reference_RHWC``, uint8."""
        try:
            video, _ = read_video(sample["mp4"], start, frames)
            if anchor != start:
                video = np.concatenate([read_video(sample["mp4"], anchor, 1)[0], video[1:]])
        except ValueError as error:
            raise SchemaError(getattr(error, "reason", "corrupt mp4"), f"mp4: {error}") from error
        images = reference_pixels(sample, references, video.shape[1], video.shape[2])
        return {"video_THWC": video, "reference_RHWC": images}


class Latents:
    """Cuts the window from latents a codec wrote into the shard, so that no frame is decoded in training.

    The codec codes a clip's first frame alone, so latent 0 of a window is not a slice of the whole clip's latents:
    it is ``still[k]``, the frame 4k coded alone, followed by ``latent[k + 1:]``. So ``anchor`` must divide by 4, too.
    """

    fields = ("npy",)

    def __call__(
        self, sample: Sample, start: int, frames: int, references: Sequence[int], anchor: int
    ) -> dict[str, np.ndarray]:
        """Return ``latents_TCYX`` of 1 + (frames - 1) / 4 latent frames and ``reference_RCYX``, in the stored type."""
        latent, still = _latents(sample, "latent.npy"), _latents(sample, "still.npy")
        first, count = start // STRIDE, 1 + (frames - 1) // STRIDE
        picture = anchor // STRIDE
        if first + count > len(latent) or max(first, picture) >= len(still):
            raise SchemaError("latents", f"latents cover {len(latent)} of {first + count} latent frames; encode again")
        window = np.concatenate([still[picture : picture + 1], latent[first + 1 : first + count]])
        return {"latents_TCYX": window, "reference_RCYX": _references(sample, references, latent)}


class PairLatents:
    """Cuts the same window from the winner's and the loser's latents of a pair, ``winner.npy`` and ``loser.npy``.

    Both were generated from one first picture, which is latent frame 0: ``anchor`` must be 0 or the window's start 0.
    """

    fields = ("npy",)

    def __call__(
        self, sample: Sample, start: int, frames: int, references: Sequence[int], anchor: int
    ) -> dict[str, np.ndarray]:
        """Return ``latents_TCYX``, the winner's, ``loser_TCYX`` and ``reference_RCYX``."""
        first, count = start // STRIDE, 1 + (frames - 1) // STRIDE
        if anchor:
            raise ValueError(f"a pair begins with frame 0, not {anchor}; let windows begin by continue_performance")
        cuts = {}
        for name, field in (("winner.npy", "latents_TCYX"), ("loser.npy", "loser_TCYX")):
            latent = _latents(sample, name)
            if first + count > len(latent):
                raise SchemaError("latents", f"{name} covers {len(latent)} of {first + count} latent frames; remake it")
            cuts[field] = np.concatenate([latent[:1], latent[first + 1 : first + count]])
        return {**cuts, "reference_RCYX": _references(sample, references, cuts["latents_TCYX"])}


class TrajectoryLatents:
    """Cuts the window from the points of a teacher's trajectory, ``trajectory.npy``; the last one is clean.

    Its latent frame 0 is the first picture: ``anchor`` must be 0 or the window's start 0.
    """

    fields = ("npy",)

    def __call__(
        self, sample: Sample, start: int, frames: int, references: Sequence[int], anchor: int
    ) -> dict[str, np.ndarray]:
        """Return ``points_STCYX``, ``latents_TCYX`` and ``reference_RCYX``."""
        first, count = start // STRIDE, 1 + (frames - 1) // STRIDE
        points = _latents(sample, "trajectory.npy", dimensions=5)
        if anchor:
            raise ValueError(f"a trajectory begins with frame 0, not {anchor}; let windows begin by first_start")
        if first + count > points.shape[1]:
            raise SchemaError("latents", f"trajectory.npy covers {points.shape[1]} of {first + count} latent frames")
        points = np.concatenate([points[:, :1], points[:, first + 1 : first + count]], axis=1)
        return {
            "points_STCYX": points,
            "latents_TCYX": points[-1],
            "reference_RCYX": _references(sample, references, points[-1]),
        }


def _references(sample: Sample, references: Sequence[int], like_TCYX: np.ndarray) -> np.ndarray:
    rows = list(references)
    if not rows:
        return np.zeros((0, *like_TCYX.shape[1:]), like_TCYX.dtype)
    latents = _latents(sample, "ref.npy")
    if max(rows) >= len(latents):
        raise SchemaError("latents", f"ref.npy covers {len(latents)} of {max(rows) + 1} references; encode again")
    return latents[rows]


def _latents(sample: Sample, name: str, dimensions: int = 4) -> np.ndarray:
    if name not in sample:
        raise SchemaError("no latents", f"{name} is missing; encode the shards with a codec first, or read pixels")
    array: np.ndarray = decode(sample, name)
    if array.ndim != dimensions:
        raise SchemaError("latents", f"{name} of shape {array.shape} has not {dimensions} dimensions; encode again")
    return array
