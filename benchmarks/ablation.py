"""What each idea of the Base model is worth: tiny variants, trained under one budget and measured with intervals.

    python benchmarks/ablation.py --steps 1100 --seeds 0 1 2

Every variant is the recipe recipes/base/identity.yaml trained from nothing (`reference`) with one change, or the
three recipes of the curriculum in turn, with as many steps in all. Each is trained on the same corpus and measured on
the same held-out clips, given the kinds of references that it was trained with, and on clips of 8 s that listen with
free head motion, of other characters, since reactions are few. Parameters and FLOPs are those of the
backbone in one pass over one training clip. A run that is killed goes on where it stopped when it is started again;
what is finished is not done twice. Trainings lie in --work with the overlay that made them, results in --output.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from performance import machine
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lpm.data.puppets import read
from lpm.data.puppets.plan import CorpusSpec
from lpm.sample import PerformanceModel
from lpm.train import PuppetData, measure
from lpm.train.base import trainable
from lpm.train.callbacks import write_json
from lpm.train.checkpoint import load_model
from lpm.types import Batch

RECIPES = Path(__file__).parent.parent / "recipes" / "base"
AT_ONCE = {"identity": 1.0}
CURRICULUM = {"speak": 0.3, "listen": 0.5, "identity": 0.2}
FROM_NOTHING = {"start": None, "learning_rate": 2.5e-3, "audio_rate": 1.0}
SHOWN = ("lip_correlation", "false_lip_motion", "identity_distance", "head_energy_ratio")
LISTENING = ("reaction_z", "listening_speed")


@dataclass(frozen=True)
class Variant:
    """One change of the reference.

    Attributes:
        what: the change in words.
        backbone: arguments of the backbone's builder.
        kinds: references beside the global one, in training and in measuring.
        stages: recipes trained in turn, with their share of the steps.
    """

    what: str
    backbone: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("body", "expression")
    stages: dict[str, float] = field(default_factory=lambda: AT_ONCE)


VARIANTS = {
    "reference": Variant("voices interleaved, all references, all at once"),
    "both_voices": Variant("every block hears both voices", backbone={"hears": [["speak", "listen"]]}),
    "no_expressions": Variant("no expression references", kinds=("body",)),
    "no_body_views": Variant("no body views", kinds=("expression",)),
    "curriculum": Variant("speak, listen, identity in turn", stages=CURRICULUM),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of weights and of the order of clips")
    parser.add_argument("--steps", type=int, default=1100, help="optimiser steps of each variant, all stages together")
    parser.add_argument("--batch", type=int, default=16, help="clips in a batch")
    parser.add_argument("--identities", type=int, default=64, help="characters to train on")
    parser.add_argument("--held-out", type=int, default=24, help="characters to measure on, two clips each")
    parser.add_argument("--frames", type=int, default=97, help="frames of the measured clips, 1 + 4k")
    parser.add_argument("--listening", type=int, default=72, help="clips that listen, three of each character")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), help="folder of the trainings")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/ablation.json"))
    args = parser.parse_args()
    if args.steps < 10:
        parser.error(f"{args.steps} steps leave none for some stage of the curriculum; give 10 or more")
    return args


def recipe(stage: str) -> dict[str, Any]:
    """Return a recipe of the curriculum as it is written."""
    return yaml.safe_load((RECIPES / f"{stage}.yaml").read_text())


def corpus(args: argparse.Namespace) -> dict[str, Any]:
    """Return the corpus of the curriculum with the characters asked for, and little of what is not measured here."""
    people = {"identities": args.identities, "val_identities": args.held_out, "test_identities": 1, "seen_clips": 1}
    return {**recipe("identity")["data"]["init_args"]["corpus"], **people}


def split_steps(stages: dict[str, float], steps: int) -> dict[str, int]:
    """Return the steps of each stage; the last takes what rounding leaves.

    >>> split_steps({"speak": 0.3, "listen": 0.5, "identity": 0.2}, 11)
    {'speak': 3, 'listen': 6, 'identity': 2}
    """
    whole = {stage: round(share * steps) for stage, share in stages.items()}
    last = list(stages)[-1]
    return {**whole, last: steps - sum(number for stage, number in whole.items() if stage != last)}


def schedule(stage: str, steps: int) -> list[dict[str, Any]]:
    """Return the recipe's schedule of shares, shrunk or stretched to so many steps."""
    settings = recipe(stage)
    scale = steps / settings["trainer"]["max_steps"]
    points = settings["data"]["init_args"]["mixture"]["init_args"]["schedule"]
    return [{**point, "step": round(point["step"] * scale)} for point in points]


def overlay(
    variant: Variant, stage: str, steps: int, seed: int, folder: Path, start: Path | None, args: argparse.Namespace
) -> dict[str, Any]:
    """Return what lies over the recipe of a stage."""
    model: dict[str, Any] = {"warmup": max(1, steps // 10)}
    model |= {"start": str(start)} if start else FROM_NOTHING
    if variant.backbone:
        model["model"] = {"init_args": {"backbone": {"init_args": variant.backbone}}}
    kinds = {"extra_kinds": list(variant.kinds)} if stage == "identity" else {}
    return {
        "seed_everything": seed,
        "trainer": {
            "max_steps": steps,
            "limit_val_batches": 0,
            "val_check_interval": steps,
            "logger": False,
            "default_root_dir": str(folder),
            "callbacks": [
                callback("EMAWeightAveraging", decay=0.98, update_starting_at_step=1),
                callback("ModelCheckpoint", dirpath=str(folder), every_n_train_steps=saved_every(steps), save_last=True,
                         save_top_k=1, enable_version_counter=False),
                callback("RichProgressBar"),
            ],
        },
        "model": {"init_args": model},
        "data": {
            "init_args": {
                "corpus": corpus(args),
                "seed": seed,
                "batch_size": args.batch,
                "mixture": {"init_args": {"schedule": schedule(stage, steps)}},
                **kinds,
            }
        },
    }  # fmt: skip


def callback(name: str, **settings: Any) -> dict[str, Any]:
    """Return the spec of a callback of Lightning."""
    return {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": settings}


def saved_every(steps: int) -> int:
    """Return a number of steps between checkpoints of which the last step is a multiple, about a tenth of them."""
    return next(every for every in range(max(1, steps // 10), steps + 1) if steps % every == 0)


def train(name: str, seed: int, args: argparse.Namespace) -> tuple[Path, float]:
    """Train what is left to train of a variant; return its last checkpoint and the seconds that took now.

    The first training of all draws the corpus in that time, too.
    """
    begin, checkpoint = time.perf_counter(), None
    variant = VARIANTS[name]
    for stage, steps in split_steps(variant.stages, args.steps).items():
        folder = args.work / name / f"seed{seed}" / stage
        folder.mkdir(parents=True, exist_ok=True)
        settings = overlay(variant, stage, steps, seed, folder, checkpoint, args)
        keep_settings(folder / "overlay.yaml", yaml.safe_dump(settings, sort_keys=False))
        checkpoint = folder / "last.ckpt"
        if steps_done(checkpoint) < steps:
            fit(stage, folder / "overlay.yaml", checkpoint)
    assert checkpoint is not None
    return checkpoint, time.perf_counter() - begin


def keep_settings(path: Path, text: str) -> None:
    """Write the settings of a training, or make sure that the one to be resumed has the same."""
    if path.is_file() and path.read_text() != text:
        sys.exit(f"{path.parent} holds a training with other settings; delete it or give another --work")
    path.write_text(text)


def steps_done(checkpoint: Path) -> int:
    """Return how far a training has come."""
    if not checkpoint.is_file():
        return 0
    return torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]


def fit(stage: str, settings: Path, checkpoint: Path) -> None:
    """Train one stage in a process of its own, from its last checkpoint if there is one."""
    resume = ["--ckpt_path", str(checkpoint)] if checkpoint.is_file() else []
    files = ["--config", str(RECIPES / f"{stage}.yaml"), "--config", str(settings)]
    subprocess.run([sys.executable, "-m", "lpm", "fit", *files, *resume], check=True)


def cost(model: PerformanceModel, batch: Batch) -> dict[str, int]:
    """Return the backbone's parameters, those that read audio, and its FLOPs in one pass over the batch's first clip.

    FLOPs are of matrix products alone, twice the multiplications; attention is counted in its plain form.
    """
    latents, conditions = model.latents(batch), model.conditions(batch)
    t_BT = torch.full(latents.shape[:2], 0.5)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.backbone(latents, t_BT, conditions, batch.fps)
    network = model.backbone.requires_grad_(True)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "audio_parameters": sum(parameter.numel() for _, parameter in trainable(network, audio=True)),
        "flops": int(counter.get_total_flops()),
    }


def run(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one variant with one seed."""
    checkpoint, took = train(name, seed, args)
    model = load_model(checkpoint)
    kinds = ("global", *VARIANTS[name].kinds)
    settings = {"measured_frames": args.frames, "measured_kinds": kinds, "measured_clips": 2 * args.held_out}
    data = PuppetData(CorpusSpec(**corpus(args)), batch_size=1, **settings)
    data.prepare_data()
    report = measure(model, data.performance_loaders()["held_out"], read)
    return {"took_s": took, **cost(model, next(iter(data.val_dataloader()))), **report.as_dict()}


def listen(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure how one variant listens."""
    people = {"identities": 1, "clips_per_identity": 1, "seen_clips": 1, "test_identities": 1, "raw_videos": 0}
    shown = {"val_identities": -(-args.listening // 3), "val_clips_per_identity": 3, "kinds": {"listen": 1.0}}
    spec = CorpusSpec(seconds=8.1, motion=1.0, seed=1000, **people, **shown)
    kinds = ("global", *VARIANTS[name].kinds)
    data = PuppetData(spec, measured_frames=spec.frames, measured_kinds=kinds, measured_clips=args.listening)
    data.prepare_data()
    model = load_model(train(name, seed, args)[0])
    report = measure(model, data.performance_loaders()["held_out"], read, ("codec", "generated"))
    return {"listening": report.as_dict()}


def load_results(args: argparse.Namespace) -> dict[str, Any]:
    """Return what is finished, and refuse results of another budget."""
    budget = {name: getattr(args, name) for name in ("steps", "batch", "identities", "held_out", "frames")}
    if not args.output.is_file():
        return {"command": " ".join(sys.argv), "budget": budget, "machine": machine(), "runs": {}}
    results = json.loads(args.output.read_text())
    if results["budget"] != budget:
        sys.exit(f"{args.output} holds results of the budget {results['budget']}; give another --output and --work")
    return results


def show(results: dict[str, Any]) -> None:
    """Print one row per variant and seed."""
    table = Table("variant", "seed", "parameters", "audio", "GFLOP", *SHOWN, *LISTENING)
    for name, found in results["runs"].items():
        for seed, row in found["seeds"].items():
            scores = [row["scores"].get(metric, {}).get("generated") for metric in SHOWN]
            scores += [row["listening"]["scores"].get(metric, {}).get("generated") for metric in LISTENING]
            cells = [f"{s['value']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" if s else "" for s in scores]
            size = (f"{row['parameters']:,}", f"{row['audio_parameters']:,}", f"{row['flops'] / 1e9:.3f}")
            table.add_row(name, seed, *size, *cells)
    Console(width=180).print(table)


def main() -> None:
    args = arguments()
    results = load_results(args)
    for seed in args.seeds:
        for name in args.variants:
            found = results["runs"].setdefault(name, {"what": VARIANTS[name].what, "seeds": {}})
            row = found["seeds"].setdefault(str(seed), {})
            for part, measured in {"scores": run, "listening": listen}.items():
                if part not in row:
                    row |= measured(name, seed, args)
                    write_json(args.output, results)
    show(results)


if __name__ == "__main__":
    main()
