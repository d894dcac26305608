"""Pure functions on tensors that a kernel may replace: attention, rotary positions, modulation."""

from lpm.ops.attend import Attend, flash, flex, sdpa
from lpm.ops.modulate import add_gated, modulate
from lpm.ops.rotary import Rotary, make_rotary, rotate

__all__ = ["Attend", "Rotary", "add_gated", "flash", "flex", "make_rotary", "modulate", "rotate", "sdpa"]
