import pytest
import torch

from lpm.nn import PatchEmbed, sinusoid


def test_patches_join_back():
    latents = torch.randn(2, 3, 4, 6, 8)
    embed = PatchEmbed(4, 16, patch=2)
    patches = embed.split(latents)
    assert patches.shape == (2, 3, 12, 16)
    assert torch.equal(embed.join(patches, 6), latents)


def test_projection_of_patches_equals_a_strided_convolution():
    torch.manual_seed(0)
    embed, latents = PatchEmbed(4, 16, patch=2), torch.randn(2, 1, 4, 6, 8)
    weight = embed.noisy.weight.view(16, 4, 2, 2)
    expected = torch.nn.functional.conv2d(latents[:, 0], weight, embed.noisy.bias, stride=2)
    torch.testing.assert_close(embed(latents)[:, 0], expected.flatten(2).transpose(1, 2))


def test_anchor_adds_the_first_frame_to_every_later_one():
    embed, latents = PatchEmbed(4, 16, patch=2, anchor=True), torch.randn(1, 3, 4, 4, 4)
    first = embed.images(latents[:, :1])
    tokens = embed(latents)
    torch.testing.assert_close(tokens[:, :1], first)
    torch.testing.assert_close(tokens[:, 1:] - first, embed.noisy(embed.split(latents[:, 1:])))


def test_odd_latents_are_refused():
    with pytest.raises(ValueError, match="5x4 do not divide by the patch of 2"):
        PatchEmbed(4, 16, patch=2)(torch.zeros(1, 1, 4, 5, 4))


def test_sinusoid_tells_values_apart():
    waves = sinusoid(torch.tensor([0.0, 1.0, 500.0]), 16)
    assert waves.shape == (3, 16)
    assert waves[0].tolist() == [1.0] * 8 + [0.0] * 8
    assert torch.pdist(waves).min() > 0.5
