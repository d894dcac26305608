from itertools import islice

import numpy as np
import pytest
import torch

from lpm.data.puppets.controls import COLUMN
from lpm.train.clips import TRACKS, LivelyClips, PuppetClips, random_controls


def clips(**values) -> LivelyClips:
    settings = {"identities": 4, "frames": 5, "sizes": (32, 40), "cut": 24, "reuse": 2, "pool": 2, "seed": 0}
    return LivelyClips(**(settings | values))


def test_every_control_moves_within_its_range():
    controls = np.stack([random_controls(np.random.default_rng(seed), 9) for seed in range(100)])
    assert np.isfinite(controls).all() and controls.dtype == np.float32
    for name, (low, high, _, _) in TRACKS.items():
        column = controls[..., COLUMN[name]]
        assert low <= column.min() < column.max() <= high
        assert column.max() - column.min() > 0.6 * (high - low)
    assert controls[..., COLUMN["blink_l"]].max() > 0.5


def test_stream_depends_on_its_seed_only():
    first, again, other = (list(islice(iter(clips(seed=seed)), 3)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert first[0].shape == (5, 3, 24, 24) and -1 <= first[0].min() < first[0].max() <= 1


def test_cut_larger_than_the_picture_raises():
    with pytest.raises(ValueError, match="cannot be cut to 48"):
        clips(cut=48)


def test_module_yields_batches_of_video():
    data = PuppetClips(identities=3, heldout=2, frames=5, size=32, cut=24, batch_size=3, pool=2, num_workers=0)
    batch = next(iter(data.train_dataloader()))
    assert batch.video_BTCHW.shape == (3, 5, 3, 24, 24)
    assert len(batch.keys) == 3 and batch.references.mask_BR.shape == (3, 0)
    (heldout,) = data.val_dataloader()
    assert heldout.video_BTCHW.shape == (2, 5, 3, 32, 32)
