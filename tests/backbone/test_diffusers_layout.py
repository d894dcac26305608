"""The text-to-video path in diffusers' layout is loaded by diffusers and gives the same."""

import pytest
import torch

from lpm.backbone import puppet_small, save_diffusers, wan
from lpm.types import Conditions, TextFeatures

diffusers = pytest.importorskip("diffusers")


@pytest.fixture
def network():
    torch.manual_seed(3)
    made = wan(width=32, depth=2, heads=2, hidden=40, channels=4, text_width=24, waves=32, audio_width=8).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("shard", ["10GB", "20KB"])
def test_diffusers_loads_it_and_gives_the_same(network, tmp_path, shard):
    split = save_diffusers(network, tmp_path, shard)
    assert (len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1) == (shard == "20KB")
    theirs, report = diffusers.WanTransformer3DModel.from_pretrained(
        tmp_path, subfolder="transformer", output_loading_info=True
    )
    assert not any(report.values())
    generator = torch.Generator().manual_seed(2)
    video = torch.randn(2, 4, 3, 6, 8, generator=generator)
    text = torch.randn(2, 7, 24, generator=generator)
    conditions = Conditions(text=TextFeatures(text, torch.ones(2, 7, dtype=torch.bool)))
    with torch.no_grad():
        level = torch.tensor([0.3, 0.9])
        truth = theirs(video, level * 1000, text).sample
        made = network.zero_audio_()(video.transpose(1, 2), level[:, None].expand(-1, 3), conditions, 16.0)
    assert truth.std() > 0.1
    torch.testing.assert_close(made.transpose(1, 2), truth, atol=1e-5, rtol=0)
    names = set(split.exported) | set(split.audio) | set(split.nulls)
    assert names == set(network.state_dict()) and len(names) == sum(map(len, vars(split).values()))
    assert set(split.nulls) == {"text.null", "speak.null", "listen.null"}
    assert all("audio" in name or name.startswith(("speak.", "listen.")) for name in split.audio)


def test_networks_that_are_not_wans_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"only networks of lpm\.backbone\.wan"):
        save_diffusers(puppet_small(), tmp_path)
    assert not list(tmp_path.iterdir())
