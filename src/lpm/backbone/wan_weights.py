"""Wan2.1's transformer weights <-> those of our DiT, in the original key layout and in that of diffusers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Size, Tensor

from lpm.backbone.sizes import wan
from lpm.nn import KeyFault, KeysDiffer, check_keys, shapes

Layout = Literal["original", "diffusers"]

# Our module, Wan's and diffusers' names of it; weight and bias each.
OUTER = (
    ("embed.noisy", "patch_embedding", "patch_embedding"),
    ("text.project.0", "text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text.project.2", "text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time.waves_in", "time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time.out", "time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_modulation", "time_projection.1", "condition_embedder.time_proj"),
    ("head.out", "head.head", "proj_out"),
)
INNER = (
    ("attention.qkv", "self_attn.q self_attn.k self_attn.v", "attn1.to_q attn1.to_k attn1.to_v"),
    ("attention.out", "self_attn.o", "attn1.to_out.0"),
    ("cross.norm", "norm3", "norm2"),
    ("cross.query", "cross_attn.q", "attn2.to_q"),
    ("cross.text.key_value", "cross_attn.k cross_attn.v", "attn2.to_k attn2.to_v"),
    ("cross.text.out", "cross_attn.o", "attn2.to_out.0"),
    ("feed_forward.0", "ffn.0", "ffn.net.0.proj"),
    ("feed_forward.2", "ffn.2", "ffn.net.2"),
)
# Tensors alone.
OUTER_ALONE = (("head.modulation", "head.modulation", "scale_shift_table"),)
INNER_ALONE = (
    ("modulation", "modulation", "scale_shift_table"),
    ("attention.norm_query.weight", "self_attn.norm_q.weight", "attn1.norm_q.weight"),
    ("attention.norm_key.weight", "self_attn.norm_k.weight", "attn1.norm_k.weight"),
    ("cross.norm_query.weight", "cross_attn.norm_q.weight", "attn2.norm_q.weight"),
    ("cross.text.norm_key.weight", "cross_attn.norm_k.weight", "attn2.norm_k.weight"),
)
# What image-to-video weights have and LPM leaves out (LPM 1.0, Base LPM: CLIP image attention and its embedding).
IMAGE_PATH = re.compile(r"img_emb\.|image_embedder\.|(k|v|norm_k|norm_q)_img\.|add_[kv]_proj\.|norm_added_[kq]\.")
EMBED = "patch_embedding.weight"
PREFIXES = ("model.diffusion_model.", "module.", "transformer.")


@dataclass(frozen=True)
class Rule:
    """One tensor of ours and the tensors of Wan whose rows it joins."""

    ours: str
    theirs: tuple[str, ...]


@dataclass(frozen=True)
class WanShape:
    """The numbers that build a network for some weights: arguments of ``lpm.backbone.wan``.

    ``image`` tells that they come from an image-to-video model, whose image path is left out.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    channels: int
    text_width: int
    waves: int
    image: bool


def layout_of(names: Mapping[str, object]) -> Layout:
    """Tell the key layout of a Wan2.1 transformer.

    Raises:
        ValueError: the keys are in neither layout.
    """
    for layout, key in (("original", "head.modulation"), ("diffusers", "proj_out.weight")):
        if key in names and EMBED in names:
            return layout  # type: ignore[return-value]
    first = ", ".join(sorted(names)[:3]) or "nothing"
    raise ValueError(f"these are not the weights of a Wan2.1 transformer: they begin with {first}")


def strip_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without a prefix that all names share, as files of other programs have it."""
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def wan_shape(tensors: Mapping[str, Tensor], head_width: int = 128, depth: int | None = None) -> WanShape:
    """Read a network's numbers off its weights, which may be on the meta device; Wan's heads are 128 wide.

    ``depth`` is the number of blocks where that is known; weights whose last ones are missing do not tell.

    Raises:
        KeysDiffer: one of the tensors that tell the numbers is missing.
    """
    column = 1 if layout_of(tensors) == "original" else 2
    telling = [row[column] for row in (OUTER[0], OUTER[1], OUTER[3], OUTER[6])] + [f"blocks.0.{INNER[6][column]}"]
    missing = [f"{name}.weight" for name in telling if f"{name}.weight" not in tensors]
    if missing:
        raise KeysDiffer("Wan2.1 transformer", [KeyFault(name, None, None) for name in missing])
    embed, text, waves, out, hidden = (tensors[f"{name}.weight"].shape for name in telling)
    return WanShape(
        width=embed[0],
        depth=depth or max(block_numbers(tensors)) + 1,
        heads=embed[0] // head_width,
        hidden=hidden[0],
        channels=out[0] // 4,
        text_width=text[1],
        waves=waves[1],
        image=any(IMAGE_PATH.search(name) for name in tensors),
    )


def block_numbers(names: Iterable[str]) -> set[int]:
    """Return the numbers of the blocks that have tensors.

    >>> block_numbers(["blocks.0.modulation", "blocks.2.modulation", "head.modulation"])
    {0, 2}
    """
    return {int(found[1]) for name in names if (found := re.match(r"blocks\.(\d+)\.", name))}


def from_wan(
    tensors: Mapping[str, Tensor], heads: int, channels: int, depth: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Convert weights of a Wan2.1 transformer, in either layout, to those of our DiT.

    Of an image-to-video model, the input channels of mask and image and the image attention are left out (LPM 1.0, Base
    LPM). Query and key channels are reordered, because our rotary positions turn channels i and i + K / 2 together and
    Wan's turn 2 i and 2 i + 1.

    Args:
        tensors: weights by name.
        heads: attention heads.
        channels: latent channels; further input channels are left out.
        depth: blocks; up to the last one in the weights if None.

    Returns:
        Our tensors, without audio paths and null tokens, and the tensors that were left out on purpose; the key of
        input channels is ``patch_embedding.weight[:, 16:]``.

    Raises:
        KeysDiffer: keys are missing, unknown or misshapen; the message is a table of every one.
    """
    tensors = strip_prefix(tensors)
    layout, shape = layout_of(tensors), wan_shape(tensors, depth=depth)
    kept, left_out = leave_out(tensors, channels)
    check_keys(needed_shapes(shape, heads, channels, layout), shapes(kept), f"Wan2.1 transformer ({layout} layout)")
    ours = {}
    for rule in rules(layout, shape.depth):
        parts = [to_ours(rule.ours, index, kept[name], heads, channels) for index, name in enumerate(rule.theirs)]
        ours[rule.ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return ours, left_out


def leave_out(tensors: Mapping[str, Tensor], channels: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split Wan's tensors into those of the text-to-video path and those of the image path."""
    kept = {name: tensor for name, tensor in tensors.items() if not IMAGE_PATH.search(name)}
    left_out = {name: tensor for name, tensor in tensors.items() if name not in kept}
    embed = kept[EMBED]
    if embed.shape[1] > channels:
        kept[EMBED], left_out[f"{EMBED}[:, {channels}:]"] = embed[:, :channels], embed[:, channels:]
    return kept, left_out


def needed_shapes(shape: WanShape, heads: int, channels: int, layout: Layout) -> dict[str, Size]:
    """Return the shape of every tensor that Wan's text-to-video network of these numbers has."""
    numbers = {name: value for name, value in asdict(shape).items() if name != "image"}
    with torch.device("meta"):
        network = wan(**{**numbers, "heads": heads, "channels": channels})
    return shapes(to_wan(network.state_dict(), heads, layout)[0])


def to_wan(ours: Mapping[str, Tensor], heads: int, layout: Layout = "diffusers") -> tuple[dict[str, Tensor], list[str]]:
    """Convert the text-to-video path of our DiT back to Wan2.1's layout; undoes ``from_wan``.

    Returns:
        Wan's tensors, and the names of ours that Wan has no place for: audio paths and null tokens.

    Raises:
        ValueError: a tensor of the text-to-video path is missing.
    """
    depth = 1 + max(block_numbers(ours))
    every = list(rules(layout, depth))
    missing = [rule.ours for rule in every if rule.ours not in ours]
    if missing:
        raise ValueError(f"the network lacks {len(missing)} tensors of Wan2.1's, such as {missing[0]}; was it a DiT?")
    theirs = {}
    for rule in every:
        parts = ours[rule.ours].chunk(len(rule.theirs))
        for index, (name, part) in enumerate(zip(rule.theirs, parts, strict=True)):
            theirs[name] = to_theirs(rule.ours, index, part, heads).contiguous()
    used = {rule.ours for rule in every}
    return theirs, [name for name in ours if name not in used]


def rules(layout: Layout, depth: int) -> Iterator[Rule]:
    """Yield how every tensor of the text-to-video path is made, for ``depth`` blocks."""
    column = 1 if layout == "original" else 2

    def expand(start: str, rows: tuple[tuple[str, ...], ...], suffixes: tuple[str, ...]) -> Iterator[Rule]:
        for row in rows:
            for suffix in suffixes:
                theirs = tuple(f"{start}{name}{suffix}" for name in row[column].split())
                yield Rule(f"{start}{row[0]}{suffix}", theirs)

    yield from expand("", OUTER, (".weight", ".bias"))
    yield from expand("", OUTER_ALONE, ("",))
    for index in range(depth):
        yield from expand(f"blocks.{index}.", INNER, (".weight", ".bias"))
        yield from expand(f"blocks.{index}.", INNER_ALONE, ("",))


def to_ours(name: str, part: int, tensor: Tensor, heads: int, channels: int) -> Tensor:
    """Bring one tensor of Wan's into the layout of our tensor ``name``, of which it is the given part."""
    if name == "embed.noisy.weight":
        return tensor.flatten(1).clone()  # (D, C, 1, p, q) -> (D, C p q)
    if name.startswith("head.out"):
        return _swap_pixels(tensor, lambda rows: rows.unflatten(0, (-1, channels)).transpose(0, 1))
    if name.endswith("modulation"):
        return tensor.squeeze(0)
    return reorder(tensor, heads, to_halves) if _is_rotated(name, part) else tensor


def to_theirs(name: str, part: int, tensor: Tensor, heads: int) -> Tensor:
    """Undo ``to_ours``."""
    if name == "embed.noisy.weight":
        return tensor.unflatten(1, (-1, 1, 2, 2))
    if name.startswith("head.out"):
        return _swap_pixels(tensor, lambda rows: rows.unflatten(0, (-1, 4)).transpose(0, 1))
    if name.endswith("modulation"):
        return tensor.unsqueeze(0)
    return reorder(tensor, heads, to_pairs) if _is_rotated(name, part) else tensor


def to_halves(x_HK: Tensor) -> Tensor:
    """Reorder each head's channels from pairs (2 i, 2 i + 1) to halves (i, i + K / 2).

    >>> to_halves(torch.arange(6)[None]).tolist()
    [[0, 2, 4, 1, 3, 5]]
    """
    return x_HK.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


def to_pairs(x_HK: Tensor) -> Tensor:
    """Undo ``to_halves``."""
    return x_HK.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def reorder(tensor: Tensor, heads: int, order: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an order of channels to each head's share of the rows of a weight, bias or norm."""
    return order(tensor.unflatten(0, (heads, -1))).flatten(0, 1)


def _is_rotated(name: str, part: int) -> bool:
    """Tell whether the rows of a tensor are query or key channels of self-attention."""
    rotated = "attention.qkv" in name and part < 2
    return rotated or "attention.norm_" in name


def _swap_pixels(tensor: Tensor, swap: Callable[[Tensor], Tensor]) -> Tensor:
    """Exchange pixels and channels among the rows of the last projection, of a patch of 2 x 2 pixels."""
    return swap(tensor).flatten(0, 1)
