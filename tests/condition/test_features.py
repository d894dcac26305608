import pytest
import timm
import torch

from lpm.condition import ImageFeatures
from lpm.metric import identity_distance, verify

NAME = "test_vit"


def test_features_are_those_of_timm_whatever_the_size_of_the_picture(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model(NAME, num_classes=0).eval()
    torch.save(network.state_dict(), tmp_path / "vit.pt")
    settings = timm.data.resolve_model_data_config(network)
    pictures = torch.rand(2, 3, *settings["input_size"][1:])
    mean, deviation = (torch.tensor(settings[name])[:, None, None] for name in ("mean", "std"))
    with torch.no_grad():
        expected = torch.nn.functional.normalize(network((pictures - mean) / deviation), dim=-1)
    features = ImageFeatures(NAME, tmp_path / "vit.pt")
    torch.testing.assert_close(features(pictures * 2 - 1), expected)
    assert features(torch.zeros(3, 3, 96, 64)).shape == (3, expected.shape[1])


def test_identity_metrics_take_features():
    torch.manual_seed(0)
    features = ImageFeatures(NAME)
    people = torch.rand(3, 3, 96, 96) * 2 - 1
    video = people[:1] + 0.05 * torch.randn(5, 3, 96, 96)
    seen, references = features(video), features(people)
    assert identity_distance(seen, references[0]) < identity_distance(seen, references[1])
    assert verify(seen, references[0], references[1:]) == 1


def test_features_have_no_gradient_and_nothing_to_train():
    features = ImageFeatures(NAME)
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert not features(torch.zeros(1, 3, 32, 32)).requires_grad


def test_unknown_names_and_missing_files_are_told(tmp_path):
    with pytest.raises(ValueError, match="timm has no model 'test_vitt'; it has test_vit"):
        ImageFeatures("test_vitt")
    with pytest.raises(FileNotFoundError, match=r"no weights of test_vit at .*absent\.pt"):
        ImageFeatures(NAME, tmp_path / "absent.pt")
