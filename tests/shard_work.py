"""What the processes of test_shard.py do: train a tiny model on rows of a batch, whole or sharded."""

import json
import os
import signal

import torch
from lightning import LightningDataModule
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import DataLoader

from lpm.backbone import DeferredDiT, puppet, recomputed
from lpm.codec import TinyCodec
from lpm.condition import ByteText, ConditionDropout, LogMelEncoder
from lpm.flow import PredictClean, Residual
from lpm.objective import FlowMatching
from lpm.objective.flow_matching import Draw
from lpm.sample import PerformanceModel
from lpm.train import BaseTraining, SeedSteps, ShardData, Sharded, ShardedAverage
from lpm.train.shard import replica
from lpm.types import Batch, References

ROWS, LOSS = 2, "val/loss"


def network():
    return puppet(channels=4, width=16, depth=2, heads=2, audio_width=16, text_width=16).double()


class RowNoise(FlowMatching):
    """Flow matching whose noise depends on the row alone, not on who trains on it."""

    def draw(self, latents_BTCYX, history=1, generator=None):
        rows = []
        for row in latents_BTCYX:
            noise = torch.Generator().manual_seed(int(row.abs().sum() * 1e6) % 2**31)
            rows.append(super().draw(row[None], 1, noise))
        return Draw(*(torch.cat(parts) for parts in list(zip(*rows))[:3]), None)


def training(deferred: bool, recompute: bool = False, chance: bool = False) -> BaseTraining:
    """A tiny training; with ``chance`` noise and dropout are drawn as always, else they depend on the row alone."""
    torch.manual_seed(0)
    whole = recomputed(network()) if recompute else network()
    model = PerformanceModel(
        DeferredDiT(network, recompute=2) if deferred else whole,
        TinyCodec(channels=4, width=16, blocks=1),
        ByteText(16),
        LogMelEncoder(16, 50.0, mels=16),
        LogMelEncoder(16, 12.5, mels=16),
        PredictClean(),
        Residual(1.0),
    )
    objective = (FlowMatching if chance else RowNoise)(model.prediction, model.coordinates)
    return BaseTraining(model, objective, None if chance else ConditionDropout(0, 0, 0, 0), warmup=2).double()


def make_batch(step: int, rows: list[int]) -> Batch:
    """The clips ``rows`` of a step."""
    generators = [torch.Generator().manual_seed(1000 * step + row) for row in rows]

    def normal(*shape):
        return torch.stack([torch.randn(*shape, generator=g, dtype=torch.float64) for g in generators])

    kinds = torch.zeros(len(rows), 1, dtype=torch.long)
    return Batch(
        keys=[str(row) for row in rows],
        fps=24.0,
        speak_BS=0.1 * normal(64_000),
        listen_BS=0.1 * normal(64_000),
        history=2.6,
        text=[f"clip {row}" for row in rows],
        state_BT=torch.zeros(len(rows), 13, dtype=torch.long),
        references=References(kinds, kinds, kinds == 0, latents_BRCYX=normal(1, 4, 6, 6)),
        latents_BTCYX=normal(4, 4, 6, 6),
    )


class Rows(LightningDataModule):
    """Every step has two clips, which the replicas share; the place is kept as PuppetData keeps it."""

    def __init__(self):
        super().__init__()
        self.used = 0

    def loader(self, steps):
        number, count = replica(self.trainer)
        rows = list(range(ROWS)) if number is None else list(range(number, ROWS, count))
        return DataLoader([make_batch(step, rows) for step in steps], batch_size=None)

    def train_dataloader(self):
        return self.loader(range(self.used, 6))

    def val_dataloader(self):
        return self.loader([6])

    def on_before_batch_transfer(self, batch, dataloader_idx):
        self.used += self.trainer.training
        return batch

    def state_dict(self):
        return {"used": self.used}

    def load_state_dict(self, state_dict):
        self.used = state_dict["used"]


class Die(Callback):
    """Kill this process as ``kill -9`` does, behind the checkpoint of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(
    folder, steps=4, context=None, deferred=False, recompute=False, chance=False, resume=None, die_at=None, average=True
) -> dict:
    """Train and validate; return whole weights, their average (on process 0) and the held-out loss by name.

    ``context`` None trains in one process.
    """
    module = training(deferred, recompute, chance)
    shards = {} if context is None else {"strategy": Sharded(context, process_group_backend="gloo"), "devices": 2}
    callbacks = [SeedSteps(), ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1)]
    callbacks += [ShardedAverage(0.5)] if average else []
    callbacks += [Die(die_at)] if die_at else []
    trainer = Trainer(
        accelerator="cpu", **shards, max_steps=steps, logger=False, callbacks=callbacks, gradient_clip_val=1.0,
        enable_progress_bar=False, enable_model_summary=False, val_check_interval=2, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=Rows(), ckpt_path=resume)
    means = {f"average.{name}": tensor for name, tensor in callbacks[2].average.items()} if average else {}
    means = {n.replace("_checkpoint_wrapped_module.", ""): whole(tensor) for n, tensor in means.items()}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    held_out = {LOSS: trainer.callback_metrics[LOSS].double()}
    return dict(get_model_state_dict(module, options=options)) | means | held_out


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def train_in_turn(folder, runs: list[dict]) -> list[dict]:
    """Several trainings, one after the other."""
    return [train(**{"folder": f"{folder}/{number}", **run}) for number, run in enumerate(runs)]


TINY = """
trainer:
  accelerator: cpu
  max_steps: {steps}
  val_check_interval: {steps}
  log_every_n_steps: 1
  logger: false
  callbacks: {callbacks}
model:
  class_path: lpm.train.BaseTraining
  init_args:
    model:
      class_path: lpm.sample.PerformanceModel
      init_args:
        backbone: {backbone}
        text: {{class_path: lpm.condition.ByteText, init_args: {{width: 32}}}}
        speak: {{class_path: lpm.condition.LogMelEncoder, init_args: {{width: 32}}}}
        listen: {{class_path: lpm.condition.LogMelEncoder, init_args: {{width: 32}}}}
data:
  class_path: lpm.train.PuppetData
  init_args: {{folder: {corpus}, frames: 9, batch_size: 2, workers: 1}}
"""


def tiny_overlay(path, steps, callbacks, corpus, backbone="{class_path: lpm.backbone.puppet_small}"):
    """Write an overlay of recipes/base.yaml that trains in seconds on a corpus that is drawn already."""
    path.write_text(TINY.format(steps=steps, callbacks=json.dumps(callbacks), corpus=corpus, backbone=backbone))
    return str(path)


def saved(folder) -> dict:
    """The spec of a callback that saves every second step."""
    arguments = {"dirpath": str(folder), "filename": "{step}", "every_n_train_steps": 2, "save_top_k": -1}
    return {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": arguments}


def commands(runs: list[list[str]]) -> list[int]:
    """Run several commands of ``lpm``, on corpora that are drawn already."""
    import lpm.train.data
    from lpm.cli import main

    lpm.train.data.build_corpus = lambda *_: None
    return [main(words) for words in runs]


def die(folder, context) -> None:
    """Train until the third step, and die in it."""
    train(folder, context=context, die_at=2)


def places(own: str, codec, settings: dict) -> tuple[list[list[str]], dict]:
    """What this process draws of one's own shards in three batches of one clip, and what it saves."""
    data = ShardData(own, codec, **{**settings, "batch_size": 1})
    keys = []
    for batch, _ in zip(data.train_dataloader(), range(3)):
        data.train_clips.advance(batch)
        keys.append(batch.keys)
    return keys, data.state_dict()
