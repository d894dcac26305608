"""A sequence shared by several processes gives what one process gives: outputs and gradients."""

import pytest
import torch

from context_work import gradients, inputs, network, shared_gradients
from lpm.backbone.context_parallel import share_sequence
from lpm.backbone.segments import reference_segment, video_segment
from processes import run_processes

SHAPES = [
    {},  # 15 tokens a latent frame, 6 a reference: one is padded, one is not
    {"size": (4, 4), "references": 0},  # no padding, no mask
    {"size": (2, 2), "reference_size": (2, 6), "frames": 1},  # a picture of fewer tokens than there are processes
]


@pytest.mark.parametrize("recompute", [False, True])
def test_two_processes_equal_one(tmp_path, recompute):
    shapes = SHAPES[:1] if recompute else SHAPES
    ranks = run_processes(shared_gradients, 2, tmp_path, shapes, recompute)
    for number, shape in enumerate(shapes):
        whole = gradients(network(), shape)
        for rank in ranks:
            assert rank[number].keys() == whole.keys()
            for name, expected in whole.items():
                torch.testing.assert_close(rank[number][name], expected, rtol=1e-9, atol=1e-9, msg=name)


def test_every_parameter_has_a_gradient_in_the_comparison():
    found = gradients(network(), {})
    assert found.keys() == {"output", "input", *(name for name, _ in network().named_parameters())}
    assert [name for name, gradient in found.items() if not gradient.abs().sum() > 0] == []


def test_heads_must_divide_over_the_processes():
    with pytest.raises(ValueError, match=r"4 attention heads do not divide over a context of 3.*1, 2, 4"):
        share_sequence(network(), 3, 0, lambda x: x)


@pytest.mark.parametrize("size", [2, 4])
def test_shares_are_equal_and_together_complete(size):
    models = [share_sequence(network(), size, rank, lambda x: x) for rank in range(size)]
    noisy, t, conditions = inputs()
    model, times = models[0], torch.arange(noisy.shape[1]).to(noisy)
    whole = [
        video_segment(model.embed(noisy), times, t, model.embed, noisy),
        reference_segment(model.embed, model.offsets, conditions),
    ]
    parts = [model.share.take(whole) for model in models]
    assert len({tuple(part[0].tokens_BFLD.shape) for part in parts}) == 1
    for number, segment in enumerate(whole):
        joined = torch.cat([part[number].tokens_BFLD for part in parts], dim=2)
        count = segment.tokens_BFLD.shape[2]
        assert torch.equal(joined[:, :, :count], segment.tokens_BFLD)
        assert not joined[:, :, count:].any()
    assert models[0].share.mask(whole).sum(-1).flatten().tolist() == [4 * 15 + 2 * 6, 4 * 15 + 6]
