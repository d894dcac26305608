"""A device for tests: its tensors hold their numbers on the CPU, but will not meet tensors of the CPU, as on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

aten, tensor_here = torch.ops.aten, torch.tensor
DEVICE = torch.device("cpu", 1)  # no such CPU: PyTorch tells it from the plain one, and asks nobody whether it is there
TRANSFERS = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class There(Tensor):
    """A tensor on ``DEVICE``; it has no ``numpy()``."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "There":
        there = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE, requires_grad=False,
        )  # fmt: skip
        there.held = held
        return there

    def __repr__(self) -> str:
        return f"There({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Makes and moves tensors where they are asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call an operator on what the tensors hold; its result is on the device that it would be on.

    Raises:
        RuntimeError: tensors of both devices meet, or a generator of the CPU is to draw on ``DEVICE``.
    """
    leaves, spec = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    here = [x for x in tensors if not isinstance(x, There) and x.ndim and x.device != DEVICE]
    met = len({type(x) is There for x in tensors}) == 2
    if met and here and func not in TRANSFERS and not (func in INDEXING and isinstance(args[0], There)):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found two in {func}")
    asked = kwargs.get("device")
    there = any(isinstance(x, There) for x in tensors) if asked is None else asked == DEVICE
    if there and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"Expected a generator of {DEVICE}, but found one of the CPU in {func}")
    inner, inner_kwargs = tree_unflatten([x.held if isinstance(x, There) else x for x in leaves], spec)
    if asked == DEVICE:
        inner_kwargs["device"] = torch.device("cpu")
    found = func(*inner, **inner_kwargs)
    if func._schema.is_mutable:
        return kwargs["out"] if "out" in kwargs else args[0]
    if func in TRANSFERS and found is inner[0]:
        found = found.clone()
    return tree_map(lambda x: There(x) if there and isinstance(x, Tensor) else x, found)


def tensor(data: Any, *, device: torch.device | None = None, **settings: Any) -> Tensor:
    """Do what ``torch.tensor`` does, which takes ``DEVICE`` for the plain CPU."""
    made = tensor_here(data, **settings)
    return made if device is None else made.to(device)


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Let ``DEVICE`` exist, but not in inference mode; modules get new parameters when they move there and back."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with Elsewhere(), patch.object(torch, "tensor", tensor):
            yield DEVICE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
