"""Metrics that see a few clips, in one process or in the first of several."""

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from lpm.metric import ApertureAgreement, ContingencyZ, Drift, FalseLipMotion, SharpnessDrift, cue_train, sharpness

FPS = 24.0


def metrics() -> dict[str, Metric]:
    """One metric of each kind of state."""
    return {
        "lips": ApertureAgreement(),
        "flapping": FalseLipMotion(),
        "reactions": ContingencyZ(FPS),
        "drift": Drift(window=5.0),
        "sharpness": SharpnessDrift(),
    }


def see(found: dict[str, Metric], clips: Iterable[int], bring: Callable[[Tensor], Tensor] = lambda x: x) -> None:
    """Show clips, whose signals ``bring`` puts on a device, to all metrics."""
    for number in clips:
        random = torch.Generator().manual_seed(number)
        aperture, truth, reactions, windows = (bring(torch.rand(48, generator=random)) for _ in range(4))
        listening, who = bring(torch.arange(48) % 5 > 1), f"S{number}"
        found["lips"].update(aperture, truth, listening, bring(torch.ones(48, dtype=torch.bool)), identity=who)
        found["flapping"].update(aperture, listening, truth, identity=who)
        cues = cue_train(bring(torch.tensor([0.5, 1.0 + number / 9])), 48, FPS)
        found["reactions"].update(cues, reactions, listening)
        found["drift"].update(windows, identity=who)
        video = bring(torch.randint(256, (9, 8, 8, 3), generator=random, dtype=torch.uint8))
        found["sharpness"].update(sharpness(video), identity=who)


def values(found: dict[str, Metric]) -> dict[str, list[float]]:
    """Return the estimates."""
    return {name: [float(x) for x in metric.compute()] for name, metric in found.items()}


def see_in_the_first(clips: int) -> dict[str, list[float]]:
    """Let the first process see all clips, and return the estimates of this one."""
    found = metrics()
    see(found, range(clips) if dist.get_rank() == 0 else [])
    return values(found)
