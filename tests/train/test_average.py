"""The average of whole weights, against Lightning's own and against what it must not do."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader

from lpm.train import Average


class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.frozen = torch.nn.Linear(1, 1), torch.nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch, batch_idx):
        self.count += 1
        return (self.layer(batch) - 3).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.layer.parameters(), 0.1)


def run(folder, average, steps=6, resume=None):
    torch.manual_seed(0)
    module = Line()
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[average, ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1)],
    )  # fmt: skip
    trainer.fit(module, DataLoader(torch.ones(100, 1), batch_size=1), ckpt_path=resume, weights_only=False)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_it_is_lightnings_average(tmp_path):
    mine = run(tmp_path / "mine", Average(0.7, start=2))
    its = run(tmp_path / "its", EMAWeightAveraging(decay=0.7, update_starting_at_step=2))
    for name in ("layer.weight", "layer.bias"):
        torch.testing.assert_close(mine[name], its[name], rtol=0, atol=1e-6)


def test_a_trial_that_ends_before_it_starts_has_the_trained_weights(tmp_path):
    trained = run(tmp_path / "plain", Average(0.0))
    assert all(torch.equal(x, trained[name]) for name, x in run(tmp_path / "trial", Average(0.9, start=100)).items())
    stored = torch.load(tmp_path / "trial" / "step=6.ckpt", weights_only=False)["state_dict"]
    assert torch.equal(stored["layer.bias"], trained["layer.bias"])


def test_frozen_weights_stay_to_the_bit_and_counters_count(tmp_path):
    torch.manual_seed(0)
    frozen = Line().frozen.weight
    found = run(tmp_path, Average(0.99))
    assert torch.equal(found["frozen.weight"], frozen) and int(found["count"]) == 6


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole = run(tmp_path / "whole", Average(0.7, start=2))
    run(tmp_path / "part", Average(0.7, start=2), steps=4)
    again = run(tmp_path / "again", Average(0.7, start=2), resume=tmp_path / "part" / "step=4.ckpt")
    assert all(torch.equal(x, again[name]) for name, x in whole.items())


def test_a_decay_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"decay of 1.5 is outside \[0, 1\)"):
        Average(1.5)
