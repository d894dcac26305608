"""What the processes of test_distillation.py do: distil a tiny student on rows of a batch."""

import copy

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

import lpm.train.student
from lpm.backbone import CausalDiT
from lpm.codec import TinyCodec
from lpm.condition import ByteText, LogMelEncoder
from lpm.distill import DMD, Chance, Judged, OnPolicy
from lpm.flow import PredictClean, Residual
from lpm.objective import FlowMatching
from lpm.sample import FewSteps, PerformanceModel
from lpm.train import DistributionTraining, Pace
from shard_work import make_batch, network


class BothRows(DistributionTraining):
    """What two processes learn, in one: every row has the chance of its process, and losses are means."""

    def training_step(self, rows, batch_idx):
        chances = [Chance(self.seed, int(self.batches), rank) for rank in range(len(rows))]
        self.student_moved = int(self.batches) % self.pace.ratio == 0
        with torch.set_grad_enabled(self.student_moved):
            made = [self.make(row, chance) for row, chance in zip(rows, chances)]
        seen = [(m.clip_BTCYX, m.conditions, rows[0].fps, m.given, c.own) for m, c in zip(made, chances)]
        if self.student_moved:
            self._step(0, sum(self.dmd(self._frozen[0], self.fake, *it)[0] for it in seen) / 2)
        self._step(1, sum(self.dmd.fake_loss(self.fake, *it) for it in seen) / 2)
        self.batches += 1


def training(kind) -> DistributionTraining:
    """A tiny stage 3 in float64; its teacher is random."""
    torch.manual_seed(0)
    teacher = PerformanceModel(
        network(),
        TinyCodec(channels=4, width=16, blocks=1),
        ByteText(16),
        LogMelEncoder(16, 50.0, mels=16),
        LogMelEncoder(16, 12.5, mels=16),
        PredictClean(),
        Residual(1.0),
    ).double()
    for parameter in teacher.backbone.parameters():  # fresh heads answer with zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
    lpm.train.student.base_puppet = lambda: copy.deepcopy(teacher)
    model = copy.deepcopy(teacher)
    model.backbone = CausalDiT(model.backbone, chunk=1, sink=1, window=1)
    stage = OnPolicy(FewSteps((1.0, 0.8), history=0.2), Judged(1, given=1))
    return kind(model, stage, DMD(FlowMatching(model.prediction, model.coordinates)), Pace(1e-3, 1e-3, ratio=2))


def distil(rank: int | None = None, **ddp) -> dict:
    """Train one turn of both networks; return their weights. ``rank`` None trains on both rows in one process."""
    module = training(BothRows if rank is None else DistributionTraining)
    processes = {} if rank is None else {"devices": 2, "strategy": DDPStrategy(process_group_backend="gloo", **ddp)}
    steps = [[make_batch(step, [row]) for row in range(2)] for step in range(2)]
    batches = steps if rank is None else [rows[rank] for rows in steps]
    trainer = Trainer(
        accelerator="cpu", **processes, max_steps=3, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))
    assert int(module.batches) == 2
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def distil_in_processes() -> tuple[dict, str]:
    """Return the weights that this process holds after a turn, and what plain DDP is told."""
    rank = torch.distributed.get_rank()
    made = distil(rank, find_unused_parameters=True)
    try:
        distil(rank)
    except ValueError as error:
        return made, str(error)
    return made, "not refused"
