"""Stage 1: the student learns where the teacher's ODE ends, from points on the way."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lpm.distill.chance import Chance
from lpm.distill.clip import causal_backbone, count_chunks, enter_points, per_frame
from lpm.flow import interpolate
from lpm.sample import Denoise, PerformanceModel, Solver, euler
from lpm.types import Batch, Conditions


class Recorder:
    """A solver that keeps the points it passes at every ``every``-th of its noise levels, the first and last included.

    Args:
        every: steps between two points that are kept.
        solver: ``lpm.sample.euler`` if None.
    """

    def __init__(self, every: int, solver: Solver | None = None) -> None:
        self.every, self.solver = every, solver or euler
        self.passed: list[Tensor] = []

    def __call__(self, denoise: Denoise, noise: Tensor, times: list[float]) -> Tensor:
        """Solve from level to level; return the end."""
        if (len(times) - 1) % self.every:
            raise ValueError(f"{len(times) - 1} steps do not divide by {self.every}; choose a multiple")
        points = [noise]
        for first, last in pairwise(range(0, len(times), self.every)):
            points.append(self.solver(denoise, points[-1], times[first : last + 1]))
        self.passed.append(torch.stack(points, dim=1))
        return points[-1]

    def points(self) -> Tensor:
        """Return the points of all pieces that were solved so far, joined in time: (B, S, T, C, Y, X)."""
        return torch.cat(self.passed, dim=2)


def record_trajectories(
    teacher: PerformanceModel,
    batch: Batch,
    frames: int,
    piece: int,
    points: int = 3,
    substeps: int = 4,
    history: int = 2,
    scales: dict[str, float] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return codec latents (B, S, T, C, Y, X) of the teacher's ODE at S noise levels, T0 to 0; frame 0 is the picture.

    With a ``piece`` of one chunk trajectories are *causal*: that of a chunk is made given the clean chunks before it,
    so that a student who sees the same past can hit its end. With a piece of the whole clip they are bidirectional, as
    in CausVid: where a chunk ends depends on the noise of chunks that the student has not seen.

    Args:
        teacher: the Base model.
        batch: conditions and the first frame's pixels.
        frames: video frames of the clip, 1 + 4k.
        piece: video frames that are made together.
        points: noise levels that are kept, without 0.
        substeps: solver steps from one kept level to the next.
        history: latent frames that the teacher sees of the piece before, as in ``PerformanceModel.perform``.
        scales: guidance per stream, in place of the teacher's own.
        generator: of the noise.

    Sources: Yin et al. 2024, "From Slow Bidirectional to Fast Autoregressive Video Diffusion Models" (CausVid);
    causal start: Causal Forcing, 2026.
    """
    recorder = Recorder(substeps)
    clip = teacher.perform_latents(batch, frames, points * substeps, piece, history, scales, generator, solver=recorder)
    path = recorder.points()
    first = clip[:, None, :1].expand(-1, path.shape[1], -1, -1, -1, -1)
    whole = torch.cat([first, path], dim=2)
    return teacher.coordinates.leave(whole.flatten(0, 1)).unflatten(0, whole.shape[:2])


class OdeRegression(nn.Module):
    """Squared distance of the student's prediction from the end of the trajectory, from a point of it.

    Every chunk of every row starts from a point of its own, and looks back to the clean ends of earlier chunks, noised
    to one of the levels of ``history``, drawn per row. All chunks of a clip are learnt at once.

    Args:
        history: noise levels of the history; by default the backbone's and the refiner's, so that both can begin with
            these weights.
    """

    def __init__(self, history: tuple[float, ...] = (0.2, 0.0)) -> None:
        super().__init__()
        if not history or not all(0 <= level < 1 for level in history):
            raise ValueError(f"history at noise levels {history}; give one or more in [0, 1), such as (0.2, 0.0)")
        self.history = tuple(history)

    def forward(
        self,
        model: PerformanceModel,
        points_BSTCYX: Tensor,
        levels: tuple[float, ...],
        conditions: Conditions,
        fps: float,
        chance: Chance,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and that of each level alone.

        Args:
            model: the student; its backbone is a ``lpm.backbone.CausalDiT``.
            points_BSTCYX: codec latents at the S levels, the last one clean.
            levels: the levels of the points but the last, from T0.
        """
        network = causal_backbone(model)
        points = enter_points(model.coordinates, points_BSTCYX)
        batch, _, frames = points.shape[:3]
        clean = points[:, -1]
        chunks = count_chunks(frames, network.chunk)
        which_BT = per_frame(chance.numbers(len(levels), batch, chunks), network.chunk)
        t_BT = with_first(torch.tensor(levels)[which_BT]).to(clean)
        noisy = points[torch.arange(batch)[:, None], with_first(which_BT), torch.arange(frames)]
        history, t_history_BT = self._history(clean, chance)
        output = network.forward_clip(noisy, t_BT, conditions, fps, history, t_history_BT)
        error_BT = (model.prediction.clean(output, noisy, t_BT) - clean)[:, 1:].square().mean(dim=(2, 3, 4))
        which_BT = which_BT.to(error_BT.device)
        by_level = {f"loss_T{i}": error_BT.detach()[which_BT == i] for i in range(len(levels))}
        return error_BT.mean(), {name: values.mean() for name, values in by_level.items() if values.numel()}

    def _history(self, clean_BTCYX: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
        level_B = torch.tensor(self.history)[chance.numbers(len(self.history), len(clean_BTCYX))].to(clean_BTCYX)
        t_BT = level_B[:, None].repeat(1, clean_BTCYX.shape[1])
        t_BT[:, 0] = 0
        return interpolate(clean_BTCYX, chance.noise(clean_BTCYX), t_BT), t_BT


def with_first(values_BT: Tensor) -> Tensor:
    """Put the first frame's value, 0, before those of the others."""
    return torch.cat([values_BT.new_zeros(len(values_BT), 1), values_BT], dim=1)
