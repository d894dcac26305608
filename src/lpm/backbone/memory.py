"""What a stream costs in memory, before it begins."""

import torch

from lpm.backbone.causal import CausalDiT


def cache_bytes(
    model: CausalDiT,
    height: int,
    width: int,
    references: int = 0,
    batch: int = 1,
    dtype: torch.dtype = torch.bfloat16,
    eight_bit: bool = False,
    turn_once: bool = False,
) -> int:
    """Return the bytes of keys and values of ``batch`` streams; tables and masks add about 1 % at large sizes.

    Every block holds keys and values of the pictures and of sink + window chunks, and with ``turn_once`` the keys
    after RoPE once more. ``model`` may be on the meta device. At 832 x 480 pixels, a chunk of the 17 B network takes
    7.7 GB in bfloat16.

    Args:
        model: the network; gives depth, width, heads, chunk, sink and window.
        height: of the latents.
        width: of the latents.
        references: pictures besides the first frame, of the same size.
        batch: streams.
        dtype: of what the network makes.
        eight_bit: chunks are kept in ``lpm.nn.EightBit``.
        turn_once: as in ``CausalDiT.init_cache``.
    """
    tokens = (height // model.embed.patch) * (width // model.embed.patch)
    remembered = (model.sink + model.window) * model.chunk * tokens
    pictures = (1 + references) * tokens
    channels, size = model.embed.width, torch.empty((), dtype=dtype).element_size()
    heads = channels // model.head_width
    one = remembered * (channels + heads * size if eight_bit else channels * size)
    turned = (remembered + pictures) * channels * size if turn_once else 0
    return len(model.blocks) * batch * (2 * one + 2 * pictures * channels * size + turned)
