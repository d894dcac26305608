"""Devices by the name that a user gives."""

from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def on_device(model: Model, device: str) -> Model:
    """Return the model on a device.

    Raises:
        ValueError: there is no such device here.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch without CUDA
        raise ValueError(
            f"device {device!r} is not to be had here; choose cpu, or cuda where `lpm doctor` shows a GPU"
        ) from error
    return model.to(device)
