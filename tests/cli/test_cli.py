"""The commands: every mistake is one line and exit code 2, bugs keep their traceback, runs work."""

import signal
import sys

import pytest
from torch import Size

from bad_input import error_line
from lpm.cli import lightning_main, main
from lpm.cli.errors import report
from lpm.cli.scripts import other_lightning
from lpm.nn import check_keys

TOY = """
import torch
from lightning import LightningDataModule, LightningModule
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        if width < 1:
            raise ValueError(f"width {width} is below 1; give 1 or more")
        self.line = nn.Linear(width, width)

class Toy(LightningModule):
    def __init__(self, net: nn.Module, fail: str = "", rate: float = 0.1):
        super().__init__()
        self.net, self.fail, self.rate = net, fail, rate

    def training_step(self, batch, index):
        if self.fail == "interrupt":
            raise KeyboardInterrupt
        if self.fail == "bug":
            raise ValueError("not the user's fault")
        return self.net.line(batch).mean()

    def predict_step(self, batch, index):
        return self.net.line(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate)

class Ones(LightningDataModule):
    def __init__(self, width: int = 4):
        super().__init__()
        self.width = width

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(4, self.width), batch_size=2)

    predict_dataloader = train_dataloader
"""
RECIPE = """
seed_everything: 0
trainer:
  max_steps: 1
  accelerator: cpu
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
  default_root_dir: {folder}
model:
  class_path: toy_training.Toy
  init_args:
    net: {{class_path: toy_training.Net, init_args: {{width: "${{data.init_args.width}}"}}}}
data: {{class_path: toy_training.Ones, init_args: {{width: 4}}}}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    (tmp_path / "toy_training.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(RECIPE.format(folder=tmp_path / "run"))
    yield "toy.yaml"
    sys.modules.pop("toy_training", None)


def test_fit_trains_saves_its_config_and_runs_twice(recipe, tmp_path):
    assert lightning_main(["fit", "--config", recipe]) == 0
    assert "toy_training.Toy" in (tmp_path / "run" / "config.yaml").read_text()
    assert main(["fit", "-c", recipe]) == 0, "a second run in the same folder must not be refused"
    assert main(["predict", "-c", recipe]) == 0


def test_a_module_that_cannot_be_tested_is_one_line(recipe, capsys):
    assert main(["test", "-c", recipe]) == 2
    assert "test_step" in error_line(capsys)


def test_strategies_of_several_processes_can_start_the_script_again(recipe, monkeypatch):
    seen = []
    monkeypatch.setattr("lpm.cli.trainer.LPMCLI", lambda *_, **__: seen.append(list(sys.argv)))
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lpm", "fit", "-c", recipe])
    assert main() == 0
    assert seen == [["/somewhere/bin/lpm", "fit", "-c", recipe]]


def test_an_override_reaches_interpolated_values(recipe, tmp_path):
    assert main(["fit", "-c", recipe, "--data.width=3"]) == 0
    assert "width: 3" in (tmp_path / "run" / "config.yaml").read_text().partition("model:")[2]


def test_an_overlay_reaches_interpolated_values(recipe, tmp_path):
    (tmp_path / "overlay.yaml").write_text("data: {init_args: {width: 5}}")
    assert main(["fit", "-c", recipe, "-c", "overlay.yaml", "--print_config"]) == 0
    assert main(["fit", "-c", recipe, "-c", "overlay.yaml"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: fit.data, fit.model; give a recipe with --config"),
        (["-c", "tyo.yaml"], "tyo.yaml'; did you mean 'toy.yaml'?"),
        (["-c", "toy.yaml", "--model.net.widht=3"], "model.net: option 'widht' is not accepted; did you mean 'width'?"),
        (["-c", "toy.yaml", "--model.net.width=abc"], "model.net.width: expected int, got 'abc'"),
        (["-c", "toy.yaml", "--model.net.width=0"], "width 0 is below 1; give 1 or more"),
        (["-c", "toy.yaml", "--model=toy_training.Tyo"], "did you mean 'Toy'?"),
        (["-c", "toy.yaml", "--trainer.max_stepss=3"], "did you mean '--trainer.max_steps'?"),
        (["-c", "toy.yaml", "-c", "key.yaml"], "'modell.rate' is not accepted; did you mean 'model"),
        (["-c", "toy.yaml", "-c", "interpolation.yaml"], "trainer.max_steps: Interpolation key"),
        (["-c", "toy.yaml", "-c", "syntax.yaml"], "did not find expected node content"),
        (["-c", "toy.yaml", "--ckpt_path=none.ckpt"], "Checkpoint file not found: none.ckpt"),
    ],
)
def test_bad_configs_are_one_line(recipe, tmp_path, capsys, words, message):
    (tmp_path / "key.yaml").write_text("modell: {rate: 1}")
    (tmp_path / "interpolation.yaml").write_text("trainer: {max_steps: '${nothing}'}")
    (tmp_path / "syntax.yaml").write_text("model: [1, {")
    assert lightning_main(["fit", *words]) == 2
    assert message in error_line(capsys)


def test_bugs_keep_their_traceback(recipe):
    with pytest.raises(ValueError, match="not the user's fault"):
        main(["fit", "-c", recipe, "--model.fail=bug"])


def test_interrupting_a_training_exits_with_130(recipe, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert main(["fit", "-c", recipe, "--model.fail=interrupt"]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # the Trainer ignores it from then on


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fti"], "unknown command 'lpm fti'; did you mean 'fit'?"),
        (["data", "pupets"], "did you mean 'data puppets'?"),
        (["doctor", "--jsn"], "did you mean '--json'?"),
        (["data", "check", "no/such/folder"], "no/such/folder"),
        (["data", "puppets"], "required: folder"),
        (["data", "puppets", "corpus", "--size=big"], "size: expected int, got 'big'"),
    ],
)
def test_bad_commands_are_one_line(capsys, words, message):
    assert main(words) == 2
    assert message in error_line(capsys)


@pytest.mark.parametrize("words", [[], ["--help"], ["data"], ["doctor", "--help"], ["data", "puppets", "--help"]])
def test_help(capsys, words):
    assert main(words) == 0
    assert "usage: lpm" in capsys.readouterr().out


def test_help_ends_with_the_example_of_the_docstring(capsys):
    main(["data", "puppets", "--help"])
    assert "example:\n  lpm data puppets" in capsys.readouterr().out


def install(folder, package: str, target: str) -> None:
    """Lay out what pip leaves of a package with a ``lightning`` script."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[console_scripts]\nlightning = {target}\n")


def test_other_words_go_to_the_other_lightning(tmp_path, monkeypatch, capsys):
    (tmp_path / "other_cli.py").write_text("def main():\n    print('the other one')\n    return 7\n")
    install(tmp_path, "lightning-sdk", "other_cli:main")
    monkeypatch.syspath_prepend(tmp_path)
    assert lightning_main(["run", "app"]) == 7
    assert "the other one" in capsys.readouterr().out


def test_litserve_is_not_asked_to_install_things(tmp_path, monkeypatch, capsys):
    install(tmp_path, "litserve", "litserve.cli:main")
    monkeypatch.syspath_prepend(tmp_path)
    assert other_lightning() is None
    assert lightning_main(["run", "app"]) == 2
    assert "unknown command 'lightning run'" in error_line(capsys)


def test_keys_that_do_not_fit_are_a_table_then_one_line(capsys):
    needed, found = {"a.weight": Size([4]), "b": Size([2])}, {"a.weight": Size([3])}
    assert report(lambda: check_keys(needed, found, "weights of here, take others")) == 2
    assert capsys.readouterr().err.splitlines() == [
        "key       is         needs  has",
        "b         missing    (2,)   -",
        "a.weight  misshapen  (4,)   (3,)",
        "error: weights of here, take others: 1 missing, 1 misshapen",
    ]
