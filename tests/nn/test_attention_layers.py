import torch
from torch import nn

from lpm.nn import ContextAttention, SelfAttention, Whole
from lpm.ops import make_rotary


def still(length, head_width):
    """Rotation by nothing."""
    return make_rotary(torch.zeros(1, length, 3), head_width)


def test_self_attention_matches_torch_multihead_attention():
    torch.manual_seed(0)
    ours, reference = SelfAttention(24, 4), nn.MultiheadAttention(24, 4, batch_first=True)
    ours.norm_query, ours.norm_key = nn.Identity(), nn.Identity()
    ours.qkv.load_state_dict({"weight": reference.in_proj_weight, "bias": reference.in_proj_bias})
    ours.out.load_state_dict(reference.out_proj.state_dict())
    x, mask = torch.randn(2, 5, 24), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0]]).bool()
    expected = reference(x, x, x, key_padding_mask=~mask)[0]
    torch.testing.assert_close(ours(x, Whole(still(5, 6), mask[:, None, None]))[0], expected, rtol=1e-4, atol=1e-5)


def test_context_attention_matches_torch_multihead_attention():
    torch.manual_seed(0)
    ours, reference = ContextAttention(24, 4), nn.MultiheadAttention(24, 4, batch_first=True, bias=False)
    ours.norm_key = nn.Identity()
    nn.init.zeros_(ours.key_value.bias)
    ours.key_value.weight.data = reference.in_proj_weight[24:]
    ours.out.load_state_dict(reference.out_proj.state_dict())
    query, context = torch.randn(2, 3, 24), torch.randn(2, 5, 24)
    projected = query @ reference.in_proj_weight[:24].T
    expected = reference(query, context, context)[0]
    torch.testing.assert_close(ours(projected, context), expected, rtol=1e-4, atol=1e-5)


def test_query_and_key_norms_make_scores_blind_to_input_scale():
    torch.manual_seed(0)
    layer = SelfAttention(24, 4)
    nn.init.zeros_(layer.qkv.bias)
    x, view = torch.randn(1, 5, 24), Whole(still(5, 6))
    torch.testing.assert_close(layer(3 * x, view)[0] - layer.out.bias, 3 * (layer(x, view)[0] - layer.out.bias))


def test_zero_values_are_mute():
    layer = ContextAttention(8, 2)
    layer.zero_value_()
    assert layer(torch.randn(1, 3, 8), torch.randn(1, 4, 8)).abs().max() == 0
