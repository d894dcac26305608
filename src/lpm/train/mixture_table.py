"""What a mixture does in a training, told before it begins: which clips are kept, dropped and repeated."""

from lightning.pytorch import Trainer
from rich.console import Console

from lpm.data import MemoryClips, Tally, Traits, listener_traits, tally, tally_table

MOST_BATCHES = 20_000  # counting takes 20 s then, and shares of later batches are much the same


def print_plan(clips: MemoryClips, trainer: Trainer) -> None:
    """Print, on one rank, what becomes of every clip in the batches of a training."""
    if not trainer.is_global_zero:
        return
    planned = trainer.max_steps * trainer.accumulate_grad_batches
    batches = min(planned, MOST_BATCHES) if planned > 0 else MOST_BATCHES
    for title, tallies in plan(clips, batches).items():
        Console().print(tally_table(tallies, f"{title}, {batches} batches"))


def plan(clips: MemoryClips, batches: int) -> dict[str, dict[str, Tally]]:
    """Return tallies of the first batches by activity, and of listening clips by each trait."""
    assert clips.draws is not None
    draws_N = clips.count(batches).tolist()
    shown_N = clips.draws.activity_N.tolist()
    listeners = [row for row, shown in enumerate(shown_N) if shown == "listening"]
    traits = [listener_traits(clips.samples[row]) for row in listeners]
    drawn = [draws_N[row] for row in listeners]
    return {"clips by activity": tally(shown_N, draws_N)} | {
        f"listening clips by {name}": tally([str(getattr(one, name)) for one in traits], drawn)
        for name in Traits._fields
        if traits
    }
