"""The memory of a stream: still pictures, the first chunks (sink) and the last ones (window), at constant size."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lpm.nn.stored import EightBit, Exact, Stored
from lpm.nn.view import KeyValue, Past
from lpm.ops import Rotary, rotate


@dataclass(eq=False)
class KVCache:
    """Keys and values of a batch of streams, each at its own time.

    A row keeps its first ``sink`` chunks for ever and its last ``window`` chunks in a ring: nothing is moved, the
    oldest chunk is overwritten. Keys are stored *before* RoPE and turned by their place in the window when they are
    read, so an hour is as good as a second (LPM 1.0, streaming). Which chunk lies where follows from ``count_B``, on
    the device: nothing in the loop waits for the host.

    A cache made while gradients are on is never written in place: roll-outs can be differentiated and recomputed. One
    made without is written in place.

    Attributes:
        sink, window: in chunks.
        turns: rotations of the tokens of a chunk at each place 0 ... sink + window, (P, L, K / 2).
        still: per layer, keys after RoPE and values of the pictures.
        still_mask_BL: True on pictures' tokens that exist, or None for all.
        layers: the chunks, per layer.
        count_B: chunks that each row has been given so far.
        rows: what else belongs to a row, batch first.
        fps: frames a second, equal for all rows.
        in_place: chunks are written into the memory of older ones.
        turn_once: keep keys after RoPE beside those before: turned once a chunk, not once a step; half as much memory
            again.
        least: chunks that every row has been given at least, known to the host; capped where the window is full.
    """

    sink: int
    window: int
    turns: Rotary
    still: list[KeyValue]
    still_mask_BL: Tensor | None
    layers: list[Stored]
    count_B: Tensor
    rows: dict[str, Tensor]
    fps: float
    in_place: bool
    turn_once: bool
    least: int = 0
    turn_past: Rotary = field(init=False)
    turn_now: Rotary = field(init=False)
    mask_BP: Tensor | None = field(init=False)
    turned: list[Tensor | None] = field(init=False)

    def __post_init__(self) -> None:
        if self.sink < 0 or self.window < 1:
            raise ValueError(
                f"sink of {self.sink} and window of {self.window} chunks; a chunk must see the one before it: "
                "sink 0 or more, window 1 or more"
            )
        self._settle()

    @property
    def batch(self) -> int:
        """Number of rows."""
        return self.count_B.shape[0]

    @property
    def tokens(self) -> int:
        """Tokens of a chunk."""
        return self.turns.cos.shape[1]

    @property
    def bytes(self) -> int:
        """Memory of all rows together, in bytes."""
        tensors = [*self.turns, *self.turn_past, *self.turn_now, self.count_B, *self.rows.values()]
        tensors += [x for pair in self.still for x in pair] + [x for layer in self.layers for x in layer.tensors]
        tensors += [x for x in (self.still_mask_BL, self.mask_BP, *self.turned) if x is not None]
        return sum(x.numel() * x.element_size() for x in tensors)

    def views(self, tokens: int) -> Iterator[Past]:
        """Yield what ``tokens`` tokens of the next chunk look at, layer by layer."""
        turn_now = Rotary(*(x[:, :, :tokens] for x in self.turn_now))
        mask = None if self.mask_BP is None else F.pad(self.mask_BP, (0, tokens), value=True)[:, None, None]
        for still, stored, turned in zip(self.still, self.layers, self.turned):
            yield Past(still, stored, turned, self.turn_past, turn_now, mask)

    def write(self, layer: int, made: KeyValue) -> None:
        """Remember the next chunk (B, H, L, K) in one layer; ``advance`` follows after the last one."""
        row_B = torch.arange(self.batch, device=self.count_B.device)
        self.layers[layer] = self.layers[layer].write(row_B, self.next_slot(), made, self.in_place)

    def advance(self) -> None:
        """Count the chunk that has been written."""
        self.count_B = self.count_B + 1
        self.least = min(self.least + 1, self.sink + self.window)
        self._settle()

    def next_slot(self) -> Tensor:
        """Return where the next chunk of each row is written: (B,) int64."""
        ring = self.sink + (self.count_B - self.sink) % self.window
        return torch.where(self.count_B < self.sink, self.count_B, ring)

    def held(self) -> Tensor:
        """Return which chunk of its row each slot holds, counted from 0; negative where it holds none: (B, S) int64."""
        device = self.count_B.device
        last_B1 = self.count_B[:, None] - 1
        sink_S, ring_S = torch.arange(self.sink, device=device), torch.arange(self.window, device=device)
        first = torch.where(sink_S <= last_B1, sink_S, -1)
        recent = last_B1 - (last_B1 - self.sink - ring_S) % self.window
        return torch.cat([first, torch.where(recent >= self.sink, recent, -1)], dim=1)

    def take(self, row_N: Tensor) -> "KVCache":
        """Return a cache with copies of the given rows; a row may be given twice.

        Taken while gradients are on, it can be trained through, whatever it comes from.
        """
        mask = None if self.still_mask_BL is None else self.still_mask_BL[row_N]
        layers = [type(layer)(*(x[row_N] for x in layer.tensors)) for layer in self.layers]
        still = [KeyValue(key[row_N], value[row_N]) for key, value in self.still]
        rows = {name: x[row_N] for name, x in self.rows.items()}
        return KVCache(
            self.sink, self.window, self.turns, still, mask, layers, self.count_B[row_N], rows, self.fps,
            not torch.is_grad_enabled(), self.turn_once, self.least,
        )  # fmt: skip

    def put(self, row_N: Tensor, other: "KVCache") -> None:
        """Replace the given rows by those of another cache, such as a new session's, or one that was saved.

        Raises:
            ValueError: the two differ in size, frame rate or storage.
        """
        self._check_alike(other)

        def put(mine: Tensor, its: Tensor) -> Tensor:
            return mine.index_copy_(0, row_N, its) if self.in_place else mine.index_copy(0, row_N, its)

        with torch.set_grad_enabled(not self.in_place):
            if self.still_mask_BL is not None or other.still_mask_BL is not None:
                self.still_mask_BL = put(self._still_mask(), other._still_mask())
            self.layers = [type(a)(*map(put, a.tensors, b.tensors)) for a, b in zip(self.layers, other.layers)]
            self.still = [KeyValue(*map(put, a, b)) for a, b in zip(self.still, other.still)]
            # out of place: the first picture may be the caller's own tensor
            self.rows = {name: x.index_copy(0, row_N, other.rows[name]) for name, x in self.rows.items()}
            self.count_B = self.count_B.index_copy(0, row_N, other.count_B)
        self.least = min(self.least, other.least)
        self._settle()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything as tensors, numbers and lists, for ``torch.save``; ``restore`` undoes it."""
        return {
            "sink": self.sink,
            "window": self.window,
            "fps": self.fps,
            "turn_once": self.turn_once,
            "least": self.least,
            "turns": copies(self.turns),
            "still": [copies(pair) for pair in self.still],
            "still_mask_BL": None if self.still_mask_BL is None else self.still_mask_BL.clone(),
            "layers": [copies(layer.tensors) for layer in self.layers],
            "count_B": self.count_B.clone(),
            "rows": dict(zip(self.rows, copies(tuple(self.rows.values())))),
        }

    @staticmethod
    def restore(state: dict[str, Any]) -> "KVCache":
        """Return the cache of a ``state_dict``, a copy, written in place unless gradients are on."""
        layers, mask = [copies(tensors) for tensors in state["layers"]], state["still_mask_BL"]
        return KVCache(
            **{name: state[name] for name in ("sink", "window", "fps", "turn_once", "least")},
            turns=Rotary(*copies(state["turns"])),
            still=[KeyValue(*copies(pair)) for pair in state["still"]],
            still_mask_BL=None if mask is None else mask.clone(),
            layers=[Exact(*tensors) if len(tensors) == 2 else EightBit(*tensors) for tensors in layers],
            count_B=state["count_B"].clone(),
            rows={name: row.detach().clone() for name, row in state["rows"].items()},
            in_place=not torch.is_grad_enabled(),
        )

    def _settle(self) -> None:
        """Work out once a chunk what reading it takes: positions, mask and, if wanted, turned keys."""
        full, held_BS = self.sink + self.window, self.held()
        gone_B = (self.count_B - full).clamp_min(0)  # chunks that fell out of the window
        shift_BS = torch.where(torch.arange(full, device=held_BS.device) < self.sink, 0, gone_B[:, None])
        self.turn_past = self._turn((held_BS - shift_BS).clamp_min(0))
        self.turn_now = self._turn((self.count_B - gone_B)[:, None])
        self.mask_BP = None
        if self.least < full or self.still_mask_BL is not None:
            exists_BP = (held_BS >= 0).repeat_interleave(self.tokens, dim=1)
            self.mask_BP = torch.cat([self._still_mask(), exists_BP], dim=1)
        self.turned = [None] * len(self.layers)
        if self.turn_once:
            with torch.set_grad_enabled(not self.in_place):
                for i, (still, layer) in enumerate(zip(self.still, self.layers)):
                    self.turned[i] = torch.cat([still.key, rotate(layer.read().key, self.turn_past)], dim=2)

    def _turn(self, place_BS: Tensor) -> Rotary:
        """Return the rotations of the tokens of chunks at the given places, (B, 1, S L, K / 2)."""
        return Rotary(*(x[place_BS].flatten(1, 2)[:, None] for x in self.turns))

    def _still_mask(self) -> Tensor:
        if self.still_mask_BL is not None:
            return self.still_mask_BL
        key = self.still[0].key
        return torch.ones(self.batch, key.shape[2], dtype=torch.bool, device=key.device)

    def _check_alike(self, other: "KVCache") -> None:
        mine, its = self._likeness(), other._likeness()
        if mine != its:
            raise ValueError(f"a cache of {its} cannot enter one of {mine}; make both with equal arguments")

    def _likeness(self) -> dict[str, object]:
        sizes = [tuple(x.shape[1:]) for x in (*self.layers[0].tensors, *self.still[0], *self.rows.values())]
        kind = {"storage": type(self.layers[0]).__name__, "layers": len(self.layers), "sizes": sizes}
        return {"sink": self.sink, "window": self.window, "fps": self.fps, **kind}


def copies(tensors: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """Return copies without gradient."""
    return [x.detach().clone() for x in tensors]
