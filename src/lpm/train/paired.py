"""How one performer compares with another on the same clips: ratios and differences with 95 % intervals."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lpm.metric import Estimate, estimate, ratio
from lpm.train.measure import Clip, score

RATIOS = ("lip_correlation", "listening_speed")


def paired_ratios(clips: Sequence[Clip], above: str, below: str, names: Iterable[str] = RATIOS) -> dict[str, Estimate]:
    """Return mean score of ``above`` over that of ``below``, for scores of which 0 is nothing.

    Args:
        clips: measured from both.
        above, below: names of performers.
        names: of scores.
    """
    return {
        name: ratio(rows["scores"], others["scores"], rows["clusters"], rows["weights"])
        for name, (rows, others) in aligned(clips, above, below).items()
        if name in names
    }


def paired_differences(clips: Sequence[Clip], above: str, below: str) -> dict[str, Estimate]:
    """Return the mean over clips of the score of ``above`` minus that of ``below``, for every score that a clip has."""
    return {
        name: estimate(rows["scores"] - others["scores"], rows["clusters"], rows["weights"])
        for name, (rows, others) in aligned(clips, above, below).items()
    }


def aligned(clips: Sequence[Clip], above: str, below: str) -> dict[str, tuple[Mapping[str, Tensor], ...]]:
    """Return the clips' scores, weights and identities from both performers, row by row the same clips.

    Scores of all clips together, such as the contingency, are left out.
    """
    fps = float(clips[0].meta["fps"])
    both = [
        {name: metric.metric_state for name, metric in score(list(clips), source, fps).items()}
        for source in (above, below)
    ]
    return {
        name: tuple({key: dim_zero_cat(rows) for key, rows in states[name].items()} for states in both)  # type: ignore[arg-type,union-attr]
        for name in both[0]
        if "scores" in both[0][name]
    }
