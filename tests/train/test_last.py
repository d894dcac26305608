"""A training that ends between two checkpoints loses none of its steps."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from lpm.train import Average, SaveLast


class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return (self.layer(batch) - 3).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def run(folder, steps, ckpt=None, save_last=True, every=2):
    torch.manual_seed(0)
    top = {"monitor": "step", "mode": "max"} if save_last == "link" else {}
    saver = ModelCheckpoint(folder, every_n_train_steps=every, save_last=save_last, save_top_k=1, **top)
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Average(decay=0.5), saver, SaveLast()],
    )  # fmt: skip
    trainer.fit(Line(), DataLoader(torch.ones(100, 1), batch_size=1), ckpt_path=ckpt)
    return torch.load(folder / "last.ckpt", weights_only=False)


@pytest.mark.parametrize("save_last", [True, "link"])
@pytest.mark.parametrize(("steps", "every"), [(3, 2), (4, 2), (5, 2), (3, 9)])
def test_the_last_checkpoint_holds_the_last_step(tmp_path, steps, every, save_last):
    found = run(tmp_path, steps, save_last=save_last, every=every)
    assert found["global_step"] == steps
    average, now = found["state_dict"]["layer.bias"], found["current_model_state"]["layer.bias"]
    assert not torch.equal(average, now)  # saved before the average takes the model's place
    assert sorted(path.name for path in tmp_path.glob("last*.ckpt")) == ["last.ckpt"]


def test_a_link_points_at_a_checkpoint_of_that_step(tmp_path):
    run(tmp_path, 3, save_last="link")
    assert (tmp_path / "last.ckpt").resolve().name == "epoch=0-step=3.ckpt"


def test_what_is_saved_already_is_not_written_again(tmp_path, monkeypatch):
    saved, own = [], lightning.Trainer.save_checkpoint
    monkeypatch.setattr(
        lightning.Trainer, "save_checkpoint", lambda t, path, *rest: (saved.append(path), own(t, path, *rest))
    )
    run(tmp_path, 4)
    assert len(saved) == 4  # a checkpoint and last.ckpt, twice


def test_the_training_goes_on_from_there(tmp_path):
    whole = run(tmp_path / "whole", 5)
    run(tmp_path / "parts", 3)
    parts = run(tmp_path / "parts", 5, tmp_path / "parts/last.ckpt")
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(parts[key][name], tensor) for name, tensor in whole[key].items())
