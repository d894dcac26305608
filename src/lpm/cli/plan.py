"""``lpm doctor --plan``: the table of what a recipe takes of each GPU."""

import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from lpm.train.plan import GIGA, RESERVE, Job, Need, advise, fits, job_of, predict


def report_plan(files: Sequence[str], gpus: str, size: str | None, json: bool) -> int:
    """Print the plan of a recipe and its overlays; return 0 if it fits, else 1."""
    count, gigabytes = numbers(gpus, "gpus", "8x80")
    pixels = None if size is None else numbers(size, "size", "480x832")
    job = job_of(resolve(files), count, gigabytes * GIGA, pixels)
    need = predict(job)
    good = fits(job, need)
    verdict = "fits" if good else f"does not fit; {advise(job)}"
    if json:
        print(dumps({**asdict(need), "total": need.total, "fits": good, "verdict": verdict, "unknown": job.unknown}))
    else:
        print_plan(job, need, verdict)
    return int(not good)


def numbers(text: str, name: str, example: str) -> tuple[int, int]:
    """Return the two numbers of a word such as 8x80."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None or not int(found[1]) or not int(found[2]):
        raise ValueError(f"{name} of {text!r} is not two numbers; write it as {example}")
    return int(found[1]), int(found[2])


def resolve(files: Sequence[str]) -> dict[str, Any]:
    """Return what ``lightning fit --print_config`` shows of a recipe and its overlays, with all defaults."""
    from omegaconf import OmegaConf

    from lpm.cli.trainer import run

    for file in files:
        if not Path(file).is_file():
            raise FileNotFoundError(2, "No such file or directory", file)
    shown = io.StringIO()
    words = [word for file in files for word in ("--config", file)]
    with redirect_stdout(shown):
        try:
            run("lpm", ["fit", *words, "--print_config"])
        except SystemExit as stop:
            if stop.code:  # the parser has said why
                raise
    content: Any = OmegaConf.to_container(OmegaConf.create(shown.getvalue()), resolve=True)
    return content  # type: ignore[no-any-return]


def print_plan(job: Job, need: Need, verdict: str) -> None:
    """Print one table and the verdict."""
    from rich.console import Console
    from rich.table import Table

    shared = f", each clip on {job.context}" if job.context > 1 else ""
    whole = "whole" if job.gpus == 1 else f"whole on each of {job.gpus}"
    how = f"sharded over {job.gpus}{shared}" if job.sharded else whole
    billions = need.parameters / GIGA
    size = f"{billions:.2f} B" if billions >= 0.1 else f"{billions * 1000:.2f} M"
    table = Table("of each GPU", "GB", title=f"{size} parameters; {how}", title_justify="left")
    rows = {
        "weights, float32": need.weights,
        "AdamW's moments": need.optimiser,
        "average of the weights": need.average,
        "gradients on their way": need.buckets,
        "gathered weights": need.gathered,
        "activations, gradients, temporary": need.working,
        "frozen encoders and codec": need.frozen,
    }
    for name, part in rows.items():
        table.add_row(name, f"{part / GIGA:.2f}")
    table.add_section()
    table.add_row("at the highest point", f"{need.total / GIGA:.2f}")
    table.add_row(f"GPU, less {RESERVE / GIGA:.0f} GB of reserve", f"{(job.memory - RESERVE) / GIGA:.2f}")
    Console(file=sys.stdout, width=100).print(table)
    for name in job.unknown:
        print(f"not counted, since its weights are not here: {name}")
    print(f"{need.flops / 1e12:.4g} TFLOP a step and GPU; references of a clip: at most {job.clip.references}")
    print(verdict)
