"""Read a puppet's face from pixels alone: mouth, head pose, eyes, brows, identity and background, frame by frame.

The reader is a small network trained on rendered puppets (``reader_training``); its weights and card ship beside it.
Its error is measured in ``benchmarks/results/reader.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from lpm.data.puppets.reader_network import SIZE, UNITS, ReaderNetwork

SMALLEST = 16
_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


@dataclass(frozen=True)
class Signals:
    """What the reader saw, float32, one entry per frame; units as in ``lpm.data.puppets.controls``.

    Attributes:
        aperture: opening between the lips, [0, 1].
        width: lip spreading, [-1, 1].
        yaw, pitch, roll: degrees.
        blink_l, blink_r: eye closure, [0, 1]; image-left and image-right eye.
        gaze_x, gaze_y: [-1, 1], right and down.
        smile, brow: [-1, 1].
        identity: estimate of ``Identity.vector()``, (T, N).
        background: CIE Lab of the upper corners, (T, 3).
        valid: bool, False where no face turned less than about 60 degrees is seen: the rest means nothing there.
    """

    aperture: np.ndarray
    width: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    blink_l: np.ndarray
    blink_r: np.ndarray
    gaze_x: np.ndarray
    gaze_y: np.ndarray
    smile: np.ndarray
    brow: np.ndarray
    identity: np.ndarray
    background: np.ndarray
    valid: np.ndarray

    @property
    def blink(self) -> np.ndarray:
        """Mean closure of both eyes, (T,)."""
        return (self.blink_l + self.blink_r) / 2

    @property
    def person(self) -> np.ndarray:
        """Identity of the clip, (N,): the median over its readable frames (over all frames if none is readable)."""
        return np.median(self.identity[self.valid] if self.valid.any() else self.identity, axis=0)


def read(video: np.ndarray, batch: int = 64) -> Signals:
    """Read every frame of a video on its own, from pixels alone.

    Args:
        video: uint8 RGB (T, H, W, 3), 16 pixels or more each way; best with the puppet filling a square picture.
            Other shapes are cut to the square in the middle; other sizes are resized to 96.
        batch: frames that pass through the network at a time.

    >>> read(np.zeros((3, 120, 160, 3), np.uint8)).valid
    array([False, False, False])
    """
    check_video(video)
    parts = [_read_batch(square(video[start : start + batch])) for start in range(0, len(video), batch)]
    controls, readable, identity = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    column = {name: controls[:, index] for index, name in enumerate(UNITS)}
    unit = {name: np.clip(column[name], 0, 1) for name in ("aperture", "blink_l", "blink_r")}
    signed = {name: np.clip(column[name], -1, 1) for name in ("width", "gaze_x", "gaze_y", "smile", "brow")}
    turn = {name: column[name] for name in ("yaw", "pitch", "roll")}
    return Signals(**unit, **signed, **turn, identity=identity, background=background_lab(video), valid=readable > 0)


def check_video(video: np.ndarray) -> None:
    """Raise ValueError unless the video is uint8 RGB frames of 16 pixels or more."""
    if not isinstance(video, np.ndarray) or video.dtype != np.uint8:
        kind = video.dtype if isinstance(video, np.ndarray) else type(video).__name__
        raise ValueError(f"video is {kind}; give a numpy array of uint8")
    if video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise ValueError(f"video has shape {video.shape}; give one or more RGB frames, (T, H, W, 3)")
    if min(video.shape[1:3]) < SMALLEST:
        raise ValueError(f"frames are {video.shape[2]}x{video.shape[1]} pixels; give {SMALLEST} or more each way")


def square(video: np.ndarray) -> Tensor:
    """Return the middle square of uint8 frames (T, H, W, 3) as (T, 3, 96, 96) in [-1, 1]."""
    height, width = video.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = np.ascontiguousarray(video[:, top : top + side, left : left + side])
    frames = torch.from_numpy(cut).permute(0, 3, 1, 2).float() / 127.5 - 1
    if side == SIZE:
        return frames
    return interpolate(frames, size=(SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)


def background_lab(video: np.ndarray) -> np.ndarray:
    """Return the median CIE Lab (D65) of the upper corners, a tenth of the picture wide and high each, (T, 3)."""
    high, wide = max(2, video.shape[1] // 10), max(2, video.shape[2] // 10)
    corners = np.concatenate([video[:, :high, :wide], video[:, :high, -wide:]], axis=2)
    rgb = np.median(corners.reshape(len(video), -1, 3), axis=1) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    return lab.astype(np.float32)


@lru_cache(maxsize=1)
def load_reader() -> ReaderNetwork:
    """Return the reader's network with the weights that ship with the package, in evaluation mode."""
    network = ReaderNetwork()
    with as_file(files("lpm.data.puppets") / "weights" / "reader.safetensors") as path:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.eval().requires_grad_(False)


def _read_batch(frames_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    with torch.inference_mode():
        return load_reader()(frames_BCHW)
