import math

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from lpm.codec import TinyCodec, load_codec
from lpm.train import CodecTraining, ExportCodec, PuppetClips
from lpm.train.clips import collate_video

WIDTH, SIZE = 8, 16


def moving_bars(rows: int = 16, frames: int = 5) -> list[torch.Tensor]:
    """Clips (frames, 3, 16, 16) of bars of random colour that drift."""
    generator = torch.Generator().manual_seed(0)
    across = torch.linspace(0, 2 * math.pi, SIZE)
    clips = []
    for _ in range(rows):
        colour, start, speed = (torch.rand(n, generator=generator) for n in (3, 1, 1))
        wave = torch.sin(across + 6 * start + speed * torch.arange(frames)[:, None])
        clips.append((wave[:, None, None, :] * colour[:, None, None]).expand(frames, 3, SIZE, SIZE).contiguous())
    return clips


def loaders() -> tuple[DataLoader, DataLoader]:
    return tuple(DataLoader(moving_bars(), 4, collate_fn=collate_video) for _ in range(2))


def trainer(folder, steps: int, callbacks: tuple = ()) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=list(callbacks),
    )


def module(**values) -> CodecTraining:
    lightning.seed_everything(0)
    return CodecTraining(TinyCodec(channels=4, width=WIDTH, blocks=1), warmup=2, start_batches=2, **values)


def test_training_improves_the_picture_and_exports_it(tmp_path):
    path = tmp_path / "weights" / "codec.safetensors"
    training = module(learning_rate=3e-3)
    run = trainer(tmp_path, 8, [ExportCodec(str(path), half=False)])
    run.fit(training, *loaders())
    first = float(run.callback_metrics["val/psnr"])
    run = trainer(tmp_path, 60, [ExportCodec(str(path), half=False)])
    run.fit(module(learning_rate=3e-3), *loaders())
    assert float(run.callback_metrics["val/psnr"]) > first
    video = torch.stack(moving_bars())
    assert torch.equal(load_codec(path)(video), run.lightning_module(video))


def test_latents_stay_normalised_while_training(tmp_path):
    training = module()
    trainer(tmp_path, 30).fit(training, *loaders())
    latents = training.codec.encode(torch.stack(moving_bars()))
    assert latents.mean((0, 1, 3, 4)).abs().max() < 0.3
    assert 0.7 < latents.square().mean().sqrt() < 1.3


def test_the_decoder_alone_learns_and_latents_stay(tmp_path):
    video = torch.stack(moving_bars())
    training = module(encoder=False, pace=10.0, learning_rate=3e-3)
    training.start_batches = 0
    training.codec.start_linear(video)
    codec = training.codec
    latents, before = codec.encode(video), (codec(video) - video).square().mean()
    trainer(tmp_path, 60).fit(training, *loaders())
    assert torch.equal(codec.encode(video), latents)
    assert (codec(video) - video).square().mean() < before


def test_training_starts_from_principal_components():
    codec, video = TinyCodec(channels=4, width=WIDTH, blocks=1), torch.stack(moving_bars())
    before = (codec(video) - video).square().mean()
    codec.start_linear(video)
    assert (codec(video) - video).square().mean() < 0.2 * before


def test_a_batch_without_pixels_raises():
    batch = collate_video(moving_bars(rows=2))
    batch.video_BTCHW = None
    with pytest.raises(ValueError, match="latents only"):
        module().validation_step(batch, 0)


def test_a_fresh_codec_starts_from_drawn_clips(tmp_path):
    data = PuppetClips(identities=4, heldout=1, frames=5, size=32, cut=16, batch_size=2, pool=2, num_workers=0)
    training = module()
    before = [layer.weight.clone() for layer in (training.codec.encoder.linear[1], training.codec.decoder.linear[0])]
    run = trainer(tmp_path, 1)
    run.fit(training, datamodule=data)
    after = [layer.weight for layer in (training.codec.encoder.linear[1], training.codec.decoder.linear[0])]
    assert run.global_step == 1
    # one step moves a weight by the learning rate at most; principal components are far from a random start
    assert all((a - b).abs().max() > 10 * training.learning_rate for a, b in zip(after, before, strict=True))
