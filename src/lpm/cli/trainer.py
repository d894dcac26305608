"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our parser and settings."""

import sys
import warnings
from typing import Any, NoReturn
from unittest.mock import patch

import jsonargparse
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lpm.build import explain
from lpm.cli.command import option_names
from lpm.train.callbacks import StoreSpec


class LPMParser(LightningArgumentParser):
    """A parser whose errors are one line, not the list of every option."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line with a did-you-mean and leave with exit code 2."""
        if not self.exit_on_error:  # a nested parser: its owner reports
            super().error(message, ex)
        line = explain(message, option_names(self))
        cure = "; give a recipe with --config" if "arguments are required" in line else ""
        print(f"error: {line}{cure}", file=sys.stderr)
        self.exit(2)


class LPMCLI(LightningCLI):
    """LightningCLI that leaves the user's settings alone when it resumes."""

    def _parse_ckpt_path(self) -> None:
        """Do nothing: upstream loads the whole checkpoint on every rank and lets its values override the config."""

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Return the trainer method's arguments; predictions are left to callbacks, since nobody takes a list here."""
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        return kwargs | {"return_predictions": False} if subcommand == "predict" else kwargs


def run(program: str, words: list[str]) -> int:
    """Parse a recipe and its overrides, build model, data and trainer, and run the trainer method ``words[0]``."""
    cli(program, words)
    return 0


def cli(program: str, words: list[str], run: bool = True) -> LPMCLI:
    """Return the command line's objects: ``.model``, ``.datamodule``, ``.trainer``, after running them.

    Args:
        program: the name in help pages.
        words: subcommand and options; options alone where ``run`` is False.
        run: False builds only.
    """
    # BaseTraining.configure_model builds the same whole model again and again: averaging is safe, memory does not grow
    warnings.filterwarnings("ignore", message="You're using the WeightAveraging callback with a model that overrides")
    # without it, ${...} inside a subcommand's config is looked up one level too high
    jsonargparse.set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    with patch.object(sys, "argv", [sys.argv[0], *words]):  # strategies of several processes start this script again
        return LPMCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=StoreSpec,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_class=LPMParser,
            parser_kwargs={"prog": program, "parser_mode": "omegaconf+"},
            run=run,
        )
