"""Encoders of transformers on tiny random weights in the true format."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lpm.condition import PretrainedAudio, audio_features
from lpm.nn import KeysDiffer
from lpm.types import AudioEncoder
from tiny_weights import save_audio

transformers = pytest.importorskip("transformers")
SECOND = 16_000


def voice(seconds, batch=2):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, round(seconds * SECOND), generator=generator) * 0.1


@pytest.mark.parametrize("kind", ["wav2vec2", "wav2vec2-large", "hubert", "hubert-large", "wavlm", "wavlm-large"])
@pytest.mark.parametrize("layer", [None, 1])
def test_whole_clip_equals_transformers(kind, layer, tmp_path):
    """In float64, behind the 80 zeros of ``PretrainedAudio``: float32 rounds to 1.2e-5 in wav2vec2-large."""
    model = save_audio(kind, tmp_path).double()
    encoder = PretrainedAudio(tmp_path, layer=layer, windowed=False).double()
    samples = voice(1.5)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=kind.endswith("-large"))
    values = extractor(list(samples.numpy()), sampling_rate=SECOND, return_tensors="pt").input_values.double()
    with torch.no_grad():
        truth = model(torch.nn.functional.pad(values, (80, 0)), output_hidden_states=True)
    expected = truth.last_hidden_state if layer is None else truth.hidden_states[layer]
    found = encoder(samples)
    assert isinstance(encoder, AudioEncoder) and found.shape == (2, 75, 24) == (
        2,
        int(1.5 * encoder.rate),
        encoder.width,
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_whole_clip_is_heard_as_a_whole_however_long(tmp_path):
    save_audio("wav2vec2", tmp_path)
    samples, whole = voice(21, batch=1), PretrainedAudio(tmp_path, windowed=False)
    assert torch.equal(audio_features(whole, samples, 0.0).tokens_BAD, whole(samples))


def test_whisper_equals_transformers(tmp_path):
    model = save_audio("whisper", tmp_path)
    samples = voice(1.5)
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    mel = extractor([np.asarray(row) for row in samples], sampling_rate=SECOND, return_tensors="pt").input_features
    with torch.no_grad():
        expected = model.get_encoder()(mel).last_hidden_state[:, :75]
    torch.testing.assert_close(PretrainedAudio(tmp_path, windowed=False)(samples), expected, atol=1e-5, rtol=0)
    assert PretrainedAudio(tmp_path, windowed=False)(voice(9.0)).shape == (2, 450, 24)  # longer than its 4 s


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_a_window_hears_two_seconds_back_and_nothing_ahead(kind, tmp_path):
    save_audio(kind, tmp_path)
    encoder, samples = PretrainedAudio(tmp_path), voice(6.0, batch=1)
    tokens = encoder(samples)
    for changed, same in ((slice(5 * SECOND, None), slice(0, 250)), (slice(0, 3 * SECOND), slice(250, None))):
        other = samples.clone()
        other[:, changed] = 0
        torch.testing.assert_close(encoder(other)[:, same], tokens[:, same], atol=1e-6, rtol=0)
        assert not torch.allclose(encoder(other), tokens)
    # the first second is a window of its own, as it is in a stream
    torch.testing.assert_close(tokens[:, :50], PretrainedAudio(tmp_path, windowed=False)(samples[:, :SECOND]))


def test_frozen_unless_trainable(tmp_path):
    save_audio("wav2vec2", tmp_path)
    frozen, trainable = PretrainedAudio(tmp_path).train(), PretrainedAudio(tmp_path, trainable=True).train()
    assert not any(p.requires_grad for p in frozen.parameters()) and not frozen.network.training
    trainable(voice(2.5)).square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trainable.parameters())


def test_wrong_folders_and_windows_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        PretrainedAudio(tmp_path)
    transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained(tmp_path / "b")
    with pytest.raises(ValueError, match=r"is a bert; audio encoders are wav2vec2"):
        PretrainedAudio(tmp_path / "b")
    save_audio("wav2vec2", tmp_path / "w")
    with pytest.raises(ValueError, match=r"fresh of 0 s is below a token of 0.02 s"):
        PretrainedAudio(tmp_path / "w", fresh=0)


def test_weights_that_are_not_in_the_folder_are_told_and_not_drawn(tmp_path):
    save_audio("wav2vec2", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["masked_spec_embed"]  # nothing reads it, and many releases lack it
    save_file(tensors | {"lm_head.weight": torch.zeros(3, 24)}, file)
    PretrainedAudio(tmp_path)
    del tensors["encoder.layers.1.attention.k_proj.bias"]
    tensors["encoder.layers.0.layer_norm.bias"] = torch.zeros(3)
    save_file(tensors, file)
    with pytest.raises(KeysDiffer) as caught:
        PretrainedAudio(tmp_path)
    assert str(caught.value).splitlines() == [
        f"weights of {tmp_path}: 1 missing, 1 misshapen",
        "key                                     is         needs  has",
        "encoder.layers.1.attention.k_proj.bias  missing    (24,)  -",
        "encoder.layers.0.layer_norm.bias        misshapen  (24,)  (3,)",
    ]


def test_whisper_needs_no_words(tmp_path):
    save_audio("whisper", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if not name.startswith("decoder.")}
    save_file(tensors, file)
    PretrainedAudio(tmp_path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "encoder.conv1.bias"}, file)
    with pytest.raises(KeysDiffer, match=r"encoder\.conv1\.bias  missing"):
        PretrainedAudio(tmp_path)
