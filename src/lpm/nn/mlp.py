"""The feed-forward layer."""

from torch import nn


def mlp(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    """Return Linear, GELU (tanh form, as in Wan2.1), Linear."""
    return nn.Sequential(nn.Linear(width_in, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width_out))
