"""Short puppet clips drawn while training runs: every control moves, widely and without a story."""

from collections.abc import Iterator

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lpm.data.puppets.controls import COLUMN, neutral
from lpm.data.puppets.expressions import EXPRESSIONS, expression
from lpm.data.puppets.identity import sample_identity
from lpm.train.frames import to_pixels
from lpm.types import Batch, References

# name: lowest, highest, frames between two random points of the track, share of points at rest
TRACKS = {
    "yaw": (-40, 40, 14, 0.1),
    "pitch": (-22, 22, 12, 0.2),
    "roll": (-16, 16, 14, 0.2),
    "x": (-0.15, 0.15, 16, 0.2),
    "y": (-0.1, 0.1, 16, 0.2),
    "lean": (-0.12, 0.15, 20, 0.3),
    "gaze_x": (-1, 1, 4, 0.3),
    "gaze_y": (-1, 1, 4, 0.3),
    "eyelid": (-1, 1, 8, 0.4),
    "brow": (-1, 1, 6, 0.4),
    "frown": (0, 1, 8, 0.6),
    "smile": (-1, 1, 8, 0.4),
    "smirk": (-1, 1, 8, 0.7),
    "sneer": (0, 1, 8, 0.7),
    "aperture": (0, 1, 2.5, 0.3),
    "width": (-1, 1, 3, 0.3),
    "round": (0, 1, 3, 0.5),
    "tongue": (0, 1, 3, 0.6),
    "breath": (-1, 1, 16, 0.0),
}
OTHER_VIEWS = ("left", "right", "rear")
OTHER_STYLES = ("flat", "sketch", "textured")


def track(rng: np.random.Generator, frames: int, low: float, high: float, period: float, rest: float) -> np.ndarray:
    """Return a random broken line (frames,) in [low, high] with a point every ``period`` frames, ``rest`` of them
    at 0.
    """
    count = int(frames / period) + 3
    points = rng.uniform(low, high, count) * (rng.random(count) >= rest)
    line = np.interp(np.arange(frames) + rng.uniform(0, period), np.arange(count) * period, points)
    return line.mean() + (line - line.mean()) * rng.uniform(0, 1)  # some tracks hold still, some use the whole range


def blinks(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Return eyelid closing (frames,) in [0, 1]: half the clips blink once, closing faster than they open."""
    start = rng.uniform(-6, 2 * frames)
    return np.interp(np.arange(frames) - start, [0, 2, 3, 6], [0, 1, 1, 0]) * rng.uniform(0.6, 1)


def random_controls(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Return controls (frames, K) float32 in which everything may move."""
    controls = neutral(frames)
    for name, (low, high, period, rest) in TRACKS.items():
        controls[:, COLUMN[name]] = track(rng, frames, low, high, period, rest)
    controls[:, COLUMN["blink_l"]] = controls[:, COLUMN["blink_r"]] = blinks(rng, frames)
    if rng.random() < 0.1:
        controls[:] = controls[:1]
    return controls


def draw_clip(
    rng: np.random.Generator, identity: int, frames: int, size: int, clean: float, front: float
) -> np.ndarray:
    """Draw ``frames`` frames of the identity with seed ``identity``, uint8 (frames, size, size, 3).

    ``clean`` and ``front`` are the shares of clips in the clean style and seen from the front.
    """
    from lpm.data.puppets.draw import Puppet  # needs the extra `puppets`, which training on own data does not

    controls = random_controls(rng, frames)
    if rng.random() < 0.4:
        controls = controls + expression(str(rng.choice(list(EXPRESSIONS))), float(rng.uniform(0.3, 1)))
    style = "clean" if rng.random() < clean else str(rng.choice(OTHER_STYLES))
    view = "front" if rng.random() < front else str(rng.choice(OTHER_VIEWS))
    puppet = Puppet(sample_identity(identity), size=size, style=style, framing=float(rng.uniform(1.0, 1.5)))
    return puppet.render(controls, view=view)


def crop(rng: np.random.Generator, clip_THWC: np.ndarray, size: int) -> np.ndarray:
    """Return a random ``size`` x ``size`` cut of the clip, mirrored half of the time."""
    top, left = (int(rng.integers(0, side - size + 1)) for side in clip_THWC.shape[1:3])
    cut = clip_THWC[:, top : top + size, left : left + size]
    return cut[:, :, ::-1] if rng.random() < 0.5 else cut


def collate_video(clips: list[Tensor]) -> Batch:
    """Stack clips into a batch that holds video and nothing else."""
    rows, frames = len(clips), len(clips[0])
    nothing = torch.zeros(rows, 0)
    return Batch(
        keys=[""] * rows,
        fps=24.0,
        speak_BS=nothing,
        listen_BS=nothing,
        history=0.0,
        text=[""] * rows,
        state_BT=torch.full((rows, frames), -1),
        references=References(nothing.long(), nothing.long(), nothing.bool()),
        video_BTCHW=torch.stack(clips),
    )


class LivelyClips(IterableDataset):
    """An endless stream of cropped clips from a pool that is renewed as it is drawn from.

    Drawing costs more than cropping: each new clip replaces an old one of the pool and is followed by ``reuse`` crops.
    Identities are the seeds 0 to ``identities`` - 1.
    """

    def __init__(
        self, identities: int, frames: int, sizes: tuple[int, ...], cut: int, reuse: int, pool: int, seed: int
    ) -> None:
        if min(sizes) < cut:
            raise ValueError(f"clips of {min(sizes)} pixels cannot be cut to {cut}; lower the cut or raise the sizes")
        self.identities, self.frames, self.sizes, self.cut = identities, frames, sizes, cut
        self.reuse, self.pool, self.seed = reuse, pool, seed

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        clips = [self.draw(rng) for _ in range(min(64, self.pool))]
        while True:
            clip = self.draw(rng)
            if len(clips) < self.pool:
                clips.append(clip)
            else:
                clips[int(rng.integers(self.pool))] = clip
            for _ in range(self.reuse):
                yield to_pixels(crop(rng, clips[int(rng.integers(len(clips)))], self.cut))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one clip of a random identity at a random size."""
        return draw_clip(rng, int(rng.integers(self.identities)), self.frames, int(rng.choice(self.sizes)), 0.7, 0.85)


class PuppetClips(LightningDataModule):
    """Clips for codec training, drawn on the fly; held-out identities for validation.

    Args:
        identities: number of training identities; the ``heldout`` next seeds are for validation.
        heldout: validation clips, one per held-out identity, front view, clean style.
        frames: frames per clip, 1 + 4k.
        size: side of validation clips in pixels; half of the training clips have it too, the others differ.
        cut: side of the training crops, divisible by 8.
        batch_size: training clips per step.
        reuse: crops per drawn clip.
        pool: clips kept to crop from, per worker.
        num_workers: processes that draw.
        seed: of everything random.
    """

    def __init__(
        self,
        identities: int = 2000,
        heldout: int = 32,
        frames: int = 9,
        size: int = 96,
        cut: int = 64,
        batch_size: int = 8,
        reuse: int = 8,
        pool: int = 2000,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = (size, size, size, max(cut, size * 2 // 3), size * 4 // 3, size * 3 // 2)
        self.train_clips = LivelyClips(identities, frames, sizes, cut, reuse, pool, seed)
        self.identities, self.heldout, self.frames, self.size, self.seed = identities, heldout, frames, size, seed
        self.batch_size, self.num_workers = batch_size, num_workers

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            self.train_clips, batch_size=self.batch_size, num_workers=self.num_workers, collate_fn=collate_video
        )

    def val_dataloader(self) -> DataLoader:
        clips = [to_pixels(self.heldout_clip(index)) for index in range(self.heldout)]
        return DataLoader(clips, batch_size=8, collate_fn=collate_video)  # type: ignore[arg-type]

    def heldout_clip(self, index: int) -> np.ndarray:
        """Draw the validation clip of held-out identity ``index``, uint8 (T, H, W, 3)."""
        rng = np.random.default_rng((self.seed, 1, index))
        return draw_clip(rng, self.identities + index, self.frames, self.size, clean=1.0, front=1.0)
