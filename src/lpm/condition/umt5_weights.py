"""umT5's encoder as Wan2.1 released it (``models_t5_umt5-xxl-enc-bf16.pth``) -> transformers' format."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from torch import Size, Tensor

from lpm.nn import KeyFault, KeysDiffer, check_keys, shapes

# transformers' name, the name in Wan2.1's release, and the shape by letters of ``umt5_shape``
OUTER = (
    ("shared.weight", "token_embedding.weight", "VD"),
    ("encoder.final_layer_norm.weight", "norm.weight", "D"),
)
INNER = (
    ("layer.0.layer_norm.weight", "norm1.weight", "D"),
    ("layer.0.SelfAttention.q.weight", "attn.q.weight", "ID"),
    ("layer.0.SelfAttention.k.weight", "attn.k.weight", "ID"),
    ("layer.0.SelfAttention.v.weight", "attn.v.weight", "ID"),
    ("layer.0.SelfAttention.o.weight", "attn.o.weight", "DI"),
    ("layer.0.SelfAttention.relative_attention_bias.weight", "pos_embedding.embedding.weight", "PH"),
    ("layer.1.layer_norm.weight", "norm2.weight", "D"),
    ("layer.1.DenseReluDense.wi_0.weight", "ffn.gate.0.weight", "FD"),
    ("layer.1.DenseReluDense.wi_1.weight", "ffn.fc1.weight", "FD"),
    ("layer.1.DenseReluDense.wo.weight", "ffn.fc2.weight", "DF"),
)
TELLING = {  # tensors that tell the numbers, one for each letter
    "VD": "token_embedding.weight",
    "IX": "blocks.0.attn.q.weight",
    "PH": "blocks.0.pos_embedding.embedding.weight",
    "FX": "blocks.0.ffn.fc1.weight",
}
WORDS = Path("google") / "umt5-xxl"  # where the release keeps the tokenizer, beside the weights


def is_umt5(names: Mapping[str, object]) -> bool:
    """Tell whether keys are those of umT5's encoder in Wan2.1's release."""
    return "token_embedding.weight" in names and any(name.startswith("blocks.0.pos_embedding.") for name in names)


def umt5_shape(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Read the numbers off the weights: V words, D width, I inner width of attention, P buckets of positions, H heads,
    F width of the feed-forward layers, N blocks.

    Raises:
        KeysDiffer: one of the tensors that tell them is missing.
    """
    missing = [name for name in TELLING.values() if name not in tensors]
    if missing:
        raise KeysDiffer("umT5", [KeyFault(name, None, None) for name in missing])
    numbers = {letter: size for letters, name in TELLING.items() for letter, size in zip(letters, tensors[name].shape)}
    blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
    return {**{letter: size for letter, size in numbers.items() if letter != "X"}, "N": max(blocks) + 1}


def from_umt5(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of umT5's encoder in Wan2.1's release to transformers' names.

    Raises:
        KeysDiffer: keys are missing, unknown or misshapen; the message is a table of every one.
    """
    shape = umt5_shape(tensors)
    rows = list(names(shape["N"]))
    needed = {original: Size(shape[letter] for letter in letters) for _, original, letters in rows}
    check_keys(needed, shapes(tensors), "umT5 (layout of Wan2.1's release)")
    return {ours: tensors[original].contiguous() for ours, original, _ in rows}


def names(blocks: int) -> Iterator[tuple[str, str, str]]:
    """Yield transformers' name, the release's name and the shape's letters of every tensor."""
    yield from OUTER
    for index in range(blocks):
        for ours, original, letters in INNER:
            yield f"encoder.block.{index}.{ours}", f"blocks.{index}.{original}", letters


def save_umt5(tensors: Mapping[str, Tensor], folder: Path | str, words: Path | str | None = None) -> None:
    """Write umT5's encoder of Wan2.1's release as a folder that ``PretrainedText`` loads.

    Args:
        tensors: weights by the release's names.
        folder: where to write.
        words: folder of its tokenizer, copied beside the weights; None leaves that to the user.
    """
    from transformers import UMT5Config

    ours, shape, folder = from_umt5(tensors), umt5_shape(tensors), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict(ours, folder)
    for file in sorted(Path(words).iterdir()) if words else []:
        if file.is_file() and file.name != "config.json":
            shutil.copy(file, folder)
    config = UMT5Config(
        vocab_size=shape["V"], d_model=shape["D"], d_kv=shape["I"] // shape["H"], d_ff=shape["F"], num_heads=shape["H"],
        num_layers=shape["N"], relative_attention_num_buckets=shape["P"], feed_forward_proj="gated-gelu",
        architectures=["UMT5EncoderModel"],
    )  # fmt: skip
    config.save_pretrained(folder)
