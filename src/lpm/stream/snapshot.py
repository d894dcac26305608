"""A stream as plain tensors, numbers, words and lists: what ``torch.save`` writes and reads with ``weights_only``."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lpm.backbone import CausalDiT
from lpm.nn import KVCache
from lpm.stream.ear import Ear
from lpm.stream.session import Session, Steering, Visual
from lpm.types import References, TextFeatures

FORMAT = 1
"""Changes when states of before cannot go on any more."""


def describe(dtype: torch.dtype, history: float, generator: CausalDiT, refiner: CausalDiT | None) -> dict[str, str]:
    """Return what a saved stream must find again where it goes on, in words.

    >>> from lpm.backbone import puppet
    >>> describe(torch.float32, 2.6, CausalDiT(puppet(8, 12, 2, 2, 8, 8)), None)["generator"]
    'chunk 6, sink 3, window 2, 2 layers of width 12'
    """

    def sizes(network: CausalDiT | None) -> str:
        if network is None:
            return "none"
        layers = f"{len(network.blocks)} layers of width {network.embed.width}"
        return f"chunk {network.chunk}, sink {network.sink}, window {network.window}, {layers}"

    return {
        "format": str(FORMAT),
        "dtype": str(dtype).removeprefix("torch."),
        "history": f"{history:g} s",
        "generator": sizes(generator),
        "refiner": sizes(refiner),
    }


def check_description(state: dict[str, Any], here: dict[str, str]) -> None:
    """Raise ValueError unless a saved stream can go on in a sampler that is described so."""
    saved = state.get("made_by")
    if not saved:
        raise ValueError("the state does not tell what saved it, so an older lpm did; open the stream anew")
    differ = sorted(name for name in saved | here if saved.get(name) != here.get(name))
    if differ:
        its, ours = (", ".join(f"{name} {each.get(name)}" for name in differ) for each in (saved, here))
        raise ValueError(f"the stream was saved with {its}; this sampler has {ours}; make it as it was then")


def save_session(session: Session) -> dict[str, Any]:
    """Return a copy of a stream as tensors, numbers, words and lists, for ``torch.save``.

    ``StreamSampler.restore`` undoes it, in a sampler of the same kind: ``made_by`` tells which.

    Raises:
        ValueError: chunks are on their way through staggered stages.
    """
    if session.in_flight:
        raise ValueError(f"{session.in_flight} chunks are between the stages; take them out with flush, then save")
    visual = session.visual
    caches = {name: None if cache is None else cache.state_dict() for name, cache in caches_of(visual).items()}
    others = ("steering", "pending", "speak", "listen", "fps", "seed", "chunk", "made_by")
    return {name: pack(getattr(session, name)) for name in others} | {"visual": pack_fields(visual, caches) | caches}


def restore_session(state: dict[str, Any], decoding: Any, speak: Ear | None, listen: Ear | None) -> Session:
    """Return the stream of a ``save_session``; fresh states of its parts tell their classes."""
    visual = state["visual"]
    restored = Visual(
        picture_BCYX=visual["picture_BCYX"].clone(),
        references=None if visual["references"] is None else References(**unpack(visual["references"], {})),
        decoding=unpack(visual["decoding"], decoding),
        **{
            name: None if visual[name] is None else KVCache.restore(visual[name]) for name in ("cache", "refiner_cache")
        },
    )
    return Session(
        visual=restored,
        steering=restore_steering(state["steering"]),
        pending=restore_steering(state["pending"]),
        speak=unpack(state["speak"], speak),
        listen=unpack(state["listen"], listen),
        **{name: state[name] for name in ("fps", "seed", "chunk", "made_by")},
    )


def restore_steering(packed: dict[str, Any]) -> Steering:
    """Return packed steering."""
    text = packed["text"]
    return Steering(None if text is None else TextFeatures(**unpack(text, {})), dict(packed["scales"]))


def caches_of(visual: Visual) -> dict[str, KVCache | None]:
    """Return the caches, which save themselves."""
    return {"cache": visual.cache, "refiner_cache": visual.refiner_cache}


def pack_fields(state: Any, leave_out: dict[str, Any]) -> dict[str, Any]:
    """Return a dataclass packed without some of its fields."""
    return {field.name: pack(getattr(state, field.name)) for field in fields(state) if field.name not in leave_out}


def pack(state: Any) -> Any:
    """Return a copy of a state made of dataclasses, tuples, tensors and numbers, without its classes."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if is_dataclass(state):
        return pack_fields(state, {})
    if isinstance(state, dict):
        return {name: pack(value) for name, value in state.items()}
    if isinstance(state, tuple | list):
        return [pack(item) for item in state]
    return state


def unpack(packed: Any, like: Any) -> Any:
    """Return the state that was packed; ``like`` is a fresh one, which tells the classes.

    >>> unpack(pack((1, (2, 3))), like=(0, (0, 0)))
    (1, (2, 3))
    """
    if isinstance(packed, Tensor):
        return packed.clone()
    if is_dataclass(like) and not isinstance(like, type):
        return replace(like, **{name: unpack(value, getattr(like, name)) for name, value in packed.items()})
    if isinstance(packed, dict):
        return {name: unpack(value, None) for name, value in packed.items()}
    if isinstance(packed, list):
        known = like if isinstance(like, tuple | list) else ()
        items = [unpack(item, known[i] if i < len(known) else None) for i, item in enumerate(packed)]
        return items if isinstance(like, list) else tuple(items)
    return packed
