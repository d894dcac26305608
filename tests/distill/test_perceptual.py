import pytest
import torch

from lpm.distill import CodecDistance, LpipsDistance
from tiny_students import tiny_student

CODEC = tiny_student(depth=1).codec
LATENTS = torch.randn(2, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def changed(frame):
    latents = LATENTS.clone()
    latents[:, frame] += 0.5
    return latents.requires_grad_()


def test_distance_is_zero_for_equal_clips_and_lies_where_they_differ():
    distance = CodecDistance()
    assert distance(CODEC, LATENTS, LATENTS).abs().max() == 0
    found = distance(CODEC, changed(2), LATENTS)
    assert found.shape == (2, 4)
    assert found[:, :2].abs().max() == 0 and (found[:, 2] > 1e-4).all()


def test_gradient_goes_to_what_was_made():
    made, wanted = changed(2), LATENTS.clone().requires_grad_()
    CodecDistance().forward(CODEC, made, wanted).sum().backward()
    assert made.grad.abs().sum() > 0 and wanted.grad is None


def test_other_layers_and_codecs():
    found = CodecDistance(["encoder.at_eighth.1"])(CODEC, changed(3), LATENTS)
    assert found[:, 3].min() > 0
    with pytest.raises(ValueError, match="TinyCodec has no layer to compare"):
        CodecDistance(["encoder.body"])(CODEC, LATENTS, LATENTS)


def test_lpips_from_a_file(tmp_path):
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    reference = _LPIPS(net="vgg", pnet_rand=True)
    names = {name: f"features.{name.partition('.')[2]}" for name in reference.net.state_dict()}
    torch.save({names[name]: x for name, x in reference.net.state_dict().items()}, tmp_path / "vgg16.pth")
    distance = LpipsDistance(str(tmp_path / "vgg16.pth")).train().double()
    made = changed(2)
    found = distance(CODEC, made, LATENTS)
    videos = [CODEC.decode(x)[:, 5:9].flatten(0, 1) for x in (made, LATENTS)]
    torch.testing.assert_close(found[:, 2], reference.double()(*videos).reshape(2, 4).mean(dim=1))
    assert found.shape == (2, 4) and found[:, :2].abs().max() < 1e-12 < found[:, 2].min()
    found.sum().backward()
    assert made.grad.abs().sum() > 0
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for path, message in (("other.pth", "is not torchvision's VGG16"), ("none.pth", "missing")):
        with pytest.raises(ValueError, match=message):
            LpipsDistance(str(tmp_path / path))
