"""Tuning an audio encoder for windows: gradients, what is saved, the data, and the recipe's report."""

import json

import lightning
import pytest
import torch

from lpm.condition import LogMelEncoder, PretrainedAudio, log_mel, save_audio, untrained_audio
from lpm.data import ShardWriter
from lpm.objective import FeatureDistance
from lpm.train import AudioData, AudioWindowReport, AudioWindowTraining, compare_windows
from lpm.train.audio_windows import voices
from tiny_weights import save_audio as save_tiny

SHORT = {"history": 0.4, "fresh": 0.2}  # the test corpus has clips of 1.4 s


def encoder(folder, kind="wav2vec2"):
    pytest.importorskip("transformers")
    save_tiny(kind, folder)
    return PretrainedAudio(folder, trainable=True)


def trainer(folder, steps=12):
    return lightning.Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder, callbacks=[AudioWindowReport()],
    )  # fmt: skip


@pytest.fixture
def data(corpus):
    return AudioData(shards=str(corpus / "shards"), frames=33, batch_size=2)


def test_windows_learn_what_the_whole_clip_says(tmp_path):
    """A voice that rises: a window is normalised by itself, so that quiet seconds look louder than in the clip."""
    training = AudioWindowTraining(encoder(tmp_path), **SHORT).train()
    samples = torch.randn(2, 16_000) * torch.linspace(0.0, 0.3, 16_000).square()
    whole, optimizer = training.whole(samples), torch.optim.AdamW(training.encoder.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        losses.append(training.objective(training.windowed(samples), whole))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]
    before = training.objective(training.untuned(samples), whole)
    torch.testing.assert_close(before, losses[0])


def test_the_report_compares_and_the_weights_load(tmp_path, data):
    training = AudioWindowTraining(encoder(tmp_path / "start"), **SHORT, learning_rate=3e-3, warmup=2)
    trainer(tmp_path, steps=3).fit(training, datamodule=data)
    report = json.loads((tmp_path / "audio-windows.json").read_text())
    assert report.keys() == {"cosine", "closeness", "explained"} and report["explained"]["difference"]["n"] == 2
    assert report["explained"]["before"]["value"] != report["explained"]["after"]["value"]
    tuned, start = PretrainedAudio(tmp_path / "encoder"), PretrainedAudio(tmp_path / "start")
    samples = torch.randn(1, 16_000) * 0.1
    assert torch.equal(tuned.encode(samples), training.encoder.encode(samples))
    assert torch.equal(start.encode(samples), training.teacher.encode(samples))
    assert not torch.allclose(tuned.encode(samples), start.encode(samples), atol=1e-4)


def test_sound_alone_is_enough(sample_of, tmp_path):
    """Shards of one's own: no picture of a character, and nobody named."""
    for split in ("train", "val"):
        with ShardWriter(tmp_path / "shards", split) as writer:
            for number in range(2):
                sample = sample_of(number)
                del sample["json"]["identity"], sample["ref.00.png"]
                writer.write({**sample, "json": {**sample["json"], "references": []}})
    training = AudioWindowTraining(encoder(tmp_path / "start"), **SHORT)
    trainer(tmp_path, steps=1).fit(training, datamodule=AudioData(shards=str(tmp_path / "shards"), frames=33))
    assert json.loads((tmp_path / "audio-windows.json").read_text())["cosine"]["difference"]["n"] == 2
    PretrainedAudio(tmp_path / "encoder")


def test_a_causal_encoder_has_no_gap_to_close(tmp_path, data):
    training = AudioWindowTraining(LogMelEncoder(8, 50.0, mels=16), **SHORT)
    found = compare_windows(training, data.val_dataloader())
    assert float(found["explained"].before.value) == pytest.approx(1, abs=1e-6)
    trainer(tmp_path, steps=2).fit(training, datamodule=data)
    samples = torch.randn(1, 8_000) * 0.1
    assert torch.equal(log_mel(str(tmp_path / "encoder"))(samples), training.encoder(samples))


def test_gradient_reaches_the_encoder_and_never_the_teacher(tmp_path):
    training = AudioWindowTraining(encoder(tmp_path), **SHORT).train()
    assert not training.encoder.network.training  # no dropout, no masked time
    samples = torch.randn(2, 16_000) * 0.1
    training.objective(training.windowed(samples), training.whole(samples)).backward()
    unused = {name for name, p in training.encoder.named_parameters() if p.grad is None}
    assert unused == {"network.masked_spec_embed"}
    assert all(p.grad is None and not p.requires_grad for p in training.teacher.parameters())


def test_clips_without_a_sound_count_in_no_score(data):
    training = AudioWindowTraining(LogMelEncoder(8, 50.0, mels=16), **SHORT)
    batch = next(iter(data.val_dataloader()))
    batch.speak_BS[1], batch.listen_BS[1] = 0, 0
    found = compare_windows(training, [batch])
    assert {(int(row.after.n), int(row.after.skipped)) for row in found.values()} == {(1, 1)}


def test_a_frozen_encoder_is_refused(tmp_path):
    encoder(tmp_path)
    with pytest.raises(ValueError, match="0 parameters of the encoder are trainable"):
        AudioWindowTraining(PretrainedAudio(tmp_path))


def test_whisper_keeps_its_decoder_when_saved(tmp_path):
    tuned = encoder(tmp_path / "start", "whisper")
    with torch.no_grad():
        tuned.network.layer_norm.weight.mul_(2)
    save_audio(tuned, tmp_path / "out")
    from transformers import WhisperModel

    before, after = (WhisperModel.from_pretrained(tmp_path / name).state_dict() for name in ("start", "out"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder.layer_norm.weight"} and before.keys() == after.keys()


def test_voices_that_are_silent_throughout_are_left_out():
    speak, listen = torch.zeros(2, 8), torch.ones(2, 8)
    assert torch.equal(voices(speak, listen), listen)
    assert voices(speak, speak).shape == (4, 8)


def test_data_are_sound_alone_and_resume(data, corpus):
    first = data.train_dataloader()
    batches = [batch for batch, _ in zip(first, range(3))]
    assert batches[0].speak_BS.shape == (2, 22_000) and batches[0].video_BTCHW is None
    data.train_clips.advance(batches[0])
    again = AudioData(shards=str(corpus / "shards"), frames=33, batch_size=2)
    again.load_state_dict(data.state_dict())
    assert torch.equal(next(iter(again.train_dataloader())).speak_BS, batches[1].speak_BS)


def test_untrained_encoders_are_made_once(tmp_path):
    pytest.importorskip("transformers")
    first, second = (untrained_audio(str(tmp_path / "w"), seed=seed) for seed in (0, 1))
    samples = torch.randn(1, 16_000) * 0.1
    assert torch.equal(first(samples), second(samples)) and first(samples).shape == (1, 50, 64)


def test_log_mel_of_a_wrong_folder_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        log_mel(str(tmp_path))
    encoder(tmp_path)
    with pytest.raises(ValueError, match=r"holds no LogMelEncoder; lpm\.condition\.PretrainedAudio loads"):
        log_mel(str(tmp_path))


def test_distance_is_zero_for_equal_features_and_counts_both_parts():
    teacher = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert FeatureDistance()(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    turned = teacher.flip(-1)
    assert FeatureDistance(cosine=0.0)(turned, teacher).item() == pytest.approx(4)  # squared error 1, variance 1/4
    assert FeatureDistance(cosine=1.0)(turned, teacher).item() == pytest.approx(5)
    with pytest.raises(ValueError, match="differ; encode the same samples"):
        FeatureDistance()(teacher[:, :1], teacher)
