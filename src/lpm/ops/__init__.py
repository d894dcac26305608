"""Pure functions on tensors that a kernel may replace: attention, rotary positions, modulation."""

from lpm.ops.attend import Attend, flash, flex, sdpa
from lpm.ops.modulate import add_gated, modulate
from lpm.ops.rotary import Rotary, make_rotary, rotate
from lpm.ops.ulysses import Exchange, Ulysses, all_to_all, check_heads

__all__ = [
    "Attend",
    "Exchange",
    "Rotary",
    "Ulysses",
    "add_gated",
    "all_to_all",
    "check_heads",
    "flash",
    "flex",
    "make_rotary",
    "modulate",
    "rotate",
    "sdpa",
]
