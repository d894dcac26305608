"""What the processes of test_report_processes.py do: load what reports measure, train a step and report."""

from pathlib import Path

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import lpm.train.data
from lpm.backbone import puppet
from lpm.codec import TinyCodec
from lpm.condition import ByteText, LogMelEncoder
from lpm.data.puppets.plan import CorpusSpec
from lpm.flow import PredictClean, Residual
from lpm.objective import FlowMatching
from lpm.sample import PerformanceModel
from lpm.train import AudioData, BaseTraining, PairData, PerformanceReport, PuppetData


def puppets(corpus: str) -> PuppetData:
    """Clips of pixels of a corpus that is drawn."""
    lpm.train.data.build_corpus = lambda *_: None
    codec = TinyCodec(channels=4, width=16, blocks=1)
    return PuppetData(CorpusSpec(), codec, corpus, frames=9, batch_size=1, measured_frames=9, pixels=True)


def keys(corpus: str) -> dict[str, list[str]]:
    """Return the held-out clips that every kind of data module has for its report."""
    folder = Path(corpus)
    modules = {
        "puppets": puppets(corpus),
        "pairs": PairData(CorpusSpec(), corpus_folder=corpus, folder=str(folder / "pairs"), measured_frames=9),
        "audio": AudioData(shards=str(folder / "shards"), frames=9),
    }
    loaders = {name: module.performance_loaders()["held_out"] for name, module in modules.items()}
    return {name: [key for batch in loader for key in batch.keys] for name, loader in loaders.items()}


def train_and_test(corpus: str, folder: str) -> int:
    """Train one step and test, with a report after each; return in how many processes."""
    data = puppets(corpus)
    torch.manual_seed(0)
    model = PerformanceModel(
        puppet(channels=4, width=16, depth=2, heads=2, audio_width=16, text_width=16),
        data.codec,
        ByteText(16),
        LogMelEncoder(16, 50.0, mels=16),
        LogMelEncoder(16, 12.5, mels=16),
        PredictClean(),
        Residual(1.0),
    )
    trainer = Trainer(
        accelerator="cpu", strategy="ddp", devices=2, max_steps=1, limit_val_batches=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, use_distributed_sampler=False,
        callbacks=[PerformanceReport(steps=1, chunk=8, videos=1), ModelCheckpoint(folder, save_last=True)],
    )  # fmt: skip
    module = BaseTraining(model, FlowMatching(model.prediction, model.coordinates))
    trainer.fit(module, datamodule=data)
    if trainer.is_global_zero:
        (Path(folder) / "performance.json").rename(Path(folder) / "fit.json")
    trainer.test(module, datamodule=data, verbose=False)
    return trainer.world_size


def report(corpus: str, folder: str) -> tuple[int, dict[str, list[str]]]:
    """Train, test and report, and return the clips that the reports of this process would have."""
    found = keys(corpus)
    assert dist.get_world_size() == 2
    return train_and_test(corpus, folder), found
