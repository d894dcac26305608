import pytest
import torch

from lpm.flow import Absolute, PredictClean, PredictVelocity, Residual
from lpm.sample import ClipSampler, heun
from lpm.types import Conditions


class Still:
    """A perfect denoiser of still clips: the answer is the first frame, or no difference from it."""

    def __init__(self, residual, velocity):
        self.residual, self.velocity = residual, velocity

    def forward(self, noisy, t, conditions, fps):
        assert (t[:, 0] == 0).all()
        clean = noisy[:, :1] * (not self.residual)
        level = t[:, :, None, None, None].clamp_min(1e-9)
        return (noisy - clean) / level if self.velocity else clean.expand_as(noisy)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("velocity", [True, False])
@pytest.mark.parametrize("solver", [None, heun])
def test_still_clip_stays_still(residual, velocity, solver):
    prediction = PredictVelocity() if velocity else PredictClean()
    sampler = ClipSampler(prediction, Residual(0.5) if residual else Absolute(), steps=3, solver=solver)
    first = torch.randn(2, 1, 4, 2, 2, dtype=torch.float64)
    clip = sampler.sample(Still(residual, velocity), first, 5, Conditions(), 24.0)
    torch.testing.assert_close(clip, first.expand(-1, 5, -1, -1, -1))


def test_history_is_returned_as_given_and_noise_follows_the_generator():
    sampler = ClipSampler(PredictClean(), Residual(0.5), steps=1)
    history = torch.randn(1, 2, 4, 2, 2)
    echo = type("Echo", (), {"forward": lambda self, noisy, t, conditions, fps: noisy})()
    clips = [
        sampler.sample(echo, history, 4, Conditions(), 24.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    ]
    assert torch.equal(clips[0][:, :2], history)
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])


def test_continued_clip_begins_with_the_clip():
    sampler = ClipSampler(PredictClean(), Absolute(), steps=2)
    clip = torch.randn(1, 5, 4, 2, 2)
    longer = sampler.extend(Still(False, False), clip, keep=2, frames=3, conditions=Conditions(), fps=24.0)
    assert longer.shape[1] == 8
    assert torch.equal(longer[:, :5], clip)
    torch.testing.assert_close(longer[:, 5:], clip[:, :1].expand(-1, 3, -1, -1, -1))


def test_continuation_sees_the_first_frame_and_the_last_kept_ones():
    seen = []

    class Spy(Still):
        def forward(self, noisy, t, conditions, fps):
            seen.append((noisy, t))
            return super().forward(noisy, t, conditions, fps)

    clip = torch.randn(1, 5, 4, 2, 2)
    ClipSampler(PredictClean(), Absolute(), steps=1).extend(Spy(False, False), clip, 2, 3, Conditions(), 24.0)
    ((noisy, t),) = seen
    assert torch.equal(noisy[:, :3], clip[:, [0, 3, 4]])
    assert ((t == 0) == torch.tensor([True, True, True, False, False, False])).all()


def test_frames_made_again_fade_from_old_to_new_after_the_history_before_them():
    seen = []

    class Ones:
        def forward(self, noisy, t, conditions, fps):
            seen.append(noisy)
            return torch.ones_like(noisy)

    clip = torch.randn(1, 6, 4, 2, 2)
    sampler = ClipSampler(PredictClean(), Absolute(), steps=1)
    longer = sampler.extend(Ones(), clip, keep=2, frames=2, conditions=Conditions(), fps=24.0, again=2)
    assert torch.equal(seen[0][:, :3], clip[:, [0, 2, 3]]) and seen[0].shape[1] == 3 + 2 + 2
    assert torch.equal(longer[:, :4], clip[:, :4])
    torch.testing.assert_close(longer[:, 4], clip[:, 4] * 2 / 3 + 1 / 3)
    torch.testing.assert_close(longer[:, 5], clip[:, 5] / 3 + 2 / 3)
    assert (longer[:, 6:] == 1).all() and longer.shape[1] == 8


@pytest.mark.parametrize("keep", [0, 5])
def test_continuation_from_nothing_or_more_than_there_is_is_refused(keep):
    with pytest.raises(ValueError, match=f"keep of {keep} latent frames of 4 after the first; it must be 1 to 4"):
        ClipSampler(PredictClean(), Absolute()).extend(None, torch.zeros(1, 5, 4, 2, 2), keep, 3, Conditions(), 24.0)


@pytest.mark.parametrize("frames", [1, 2])
def test_clip_not_longer_than_its_history_is_refused(frames):
    with pytest.raises(ValueError, match=f"history of 2 latent frames for a clip of {frames}"):
        ClipSampler(PredictClean(), Absolute()).sample(None, torch.zeros(1, 2, 4, 2, 2), frames, Conditions(), 24.0)
