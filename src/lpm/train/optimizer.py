"""Muon for the matrices inside the blocks, AdamW for everything else, as one optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return the matrix with its singular values near 1 (.7 to 1.2), by a quintic Newton-Schulz iteration.

    ``torch.optim.Muon`` does this in bfloat16, which many CPUs emulate at a hundredth of the speed; here the precision
    is the matrix's own. Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers".
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


class MuonAdamW(Optimizer):
    """Step matrices along the orthogonalised momentum, and all else by AdamW.

    Every singular direction of a weight then moves alike, where Adam follows the few that dominate the gradient. Steps
    are scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training"), so that one learning rate
    serves both.

    Args:
        params: groups; those with ``matrices`` True hold 2-D parameters only.
        lr: of groups without their own.
        momentum: of matrices, with Nesterov's look-ahead.
        betas: of AdamW.
        weight_decay: of both, decoupled.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 2e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.01,
    ) -> None:
        groups = list(params)
        matrices = [group for group in groups if group.get("matrices")]
        if any(p.ndim != 2 for group in matrices for p in group["params"]):
            raise ValueError("a group of matrices holds a parameter that has not 2 dimensions; leave it to the others")
        others = [group for group in groups if not group.get("matrices")]
        self.adamw = AdamW(others or [{"params": []}], lr=lr, betas=betas, weight_decay=weight_decay)
        super().__init__(
            [*matrices, *self.adamw.param_groups], {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )
        self._share()

    def _share(self) -> None:
        """Let AdamW see this optimizer's groups and state, so that schedules and checkpoints know one optimizer."""
        self.adamw.param_groups = [group for group in self.param_groups if not group.get("matrices")]
        self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters; return what ``closure`` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group.get("matrices"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step_matrix(parameter, parameter.grad, group)
        self.adamw.step()
        return loss

    def _step_matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        direction = orthogonal(gradient.lerp(average, momentum))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction, alpha=-0.2 * max(parameter.shape) ** 0.5 * group["lr"])
