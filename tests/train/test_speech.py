"""An audio encoder learns what a voice does: targets by hand, training, and the encoder that is written."""

from types import SimpleNamespace

import lightning
import pytest
import torch

from lpm.condition import LogMelEncoder, log_mel, puppet_speech
from lpm.train import AudioData, ExportSpeech, SpeechTraining
from lpm.train.speech import CUES, LAGS, MOUTH, SPANS, cue_targets, mouth_targets


def trainer(folder, steps):
    return lightning.Trainer(
        accelerator="cpu", max_steps=steps, val_check_interval=steps, check_val_every_n_epoch=None, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder, callbacks=[ExportSpeech(str(folder / "encoder"))],
    )  # fmt: skip


@pytest.fixture
def data(corpus):
    return AudioData(shards=str(corpus / "shards"), frames=33, batch_size=2)


def test_the_mouth_is_read_at_its_time():
    """Frame i is at (i + 0.5) / fps: a token that ends there, less a lag, shall tell frame i."""
    frames = torch.arange(40.0)
    batch = SimpleNamespace(fps=20.0, truth={name: (100 * m + frames)[None] for m, name in enumerate(MOUTH)})
    wanted, known = mouth_targets(batch, torch.tensor([-0.1, 0.1, 1.0, 2.5]))
    assert known.tolist() == [False, False, True, False]
    by_hand = [100 * m + round((1.0 - lag) * 20 - 0.5) for lag in LAGS for m in range(len(MOUTH))]
    assert wanted[0, 2].tolist() == by_hand


def test_a_cue_lies_in_one_span_and_belongs_to_one_voice():
    events = [{"t": 2.0, "type": "phrase_end", "who": "partner"}, {"t": 2.0, "type": "question", "who": "self"}]
    batch = SimpleNamespace(fps=24.0, meta=[{"events": events, "start": 24}])  # the window begins at 1 s of the clip
    ends = torch.tensor([0.9, 1.1, 1.3, 1.9, 2.1])
    found = cue_targets(batch, ends, "partner").unflatten(-1, (len(CUES), len(SPANS)))[0]
    phrase_end = found[:, CUES.index("phrase_end")]
    assert phrase_end.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert found.sum() == phrase_end.sum()


def test_training_learns_and_its_encoder_loads(tmp_path, data):
    torch.manual_seed(0)
    training = SpeechTraining(LogMelEncoder(16, 50.0, mels=16, blocks=1), learning_rate=1e-2, warmup=2)
    losses = []
    training.training_step = kept(training.training_step, losses)
    trainer(tmp_path, steps=20).fit(training, datamodule=data)
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    samples = torch.randn(1, 8_000) * 0.1
    assert torch.equal(log_mel(str(tmp_path / "encoder"))(samples), training.encoder(samples))


def kept(step, losses):
    def training_step(batch, batch_idx):
        loss = step(batch, batch_idx)
        losses.append(loss.item())
        return loss

    return training_step


@pytest.mark.parametrize("rate", [50.0, 12.5])
def test_the_shipped_encoder_hears_and_stays_as_it_is(rate):
    encoder = puppet_speech(rate)
    assert encoder.rate == rate and not any(p.requires_grad for p in encoder.parameters())
    assert all(p.requires_grad for p in puppet_speech(rate, trainable=True).parameters())
    tokens = encoder(torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1)
    assert tokens.shape == (1, int(rate), 128) and tokens.isfinite().all() and tokens.std() > 0.1


def test_a_rate_that_does_not_ship_is_refused():
    with pytest.raises(ValueError, match=r"25 tokens a second.*choose 50 or 12\.5"):
        puppet_speech(25.0)
