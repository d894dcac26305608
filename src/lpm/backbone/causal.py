"""The causal DiT: chunk after chunk through a cache, or a whole clip at once, on the same weights."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import repeat
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lpm.backbone.block import Block
from lpm.backbone.clip import chunk_turns, clip_view, lay_out
from lpm.backbone.context import Heard, heard_by, read_conditions
from lpm.backbone.dit import DiT
from lpm.backbone.masks import MaskBuilder, dense_mask
from lpm.backbone.pictures import Pictures, pictures_of
from lpm.backbone.segments import fine, join_masks, join_times, join_tokens, reference_segment, video_segment
from lpm.nn import Exact, KeyValue, KVCache, Stored, View, Whole
from lpm.ops import Rotary, make_rotary, rotate
from lpm.types import AudioFeatures, Conditions, TextFeatures

PICTURES = ("picture", "others", "places")
"""Names of a row's ``Pictures`` in the cache."""


class CausalDiT(nn.Module):
    """A DiT that streams: a token sees its own chunk, chunks before it in sink and window, and the pictures.

    It takes over the parts of a DiT, so it has the same weights by the same names. Pictures are the clean first frame
    and the references; they see each other only, are encoded once, and everyone sees them for ever.

    Three uses of the same weights:

    * ``forward(noisy, t, conditions, cache=cache)`` predicts the next chunk; it only reads the cache.
    * ``extend(latents, t_history, conditions, cache)`` remembers a chunk; nothing else writes.
    * ``forward(noisy, t, conditions, fps)`` predicts all chunks of a clip at once, each from the chunks before it as
      they stand in the clip, at their own noise levels: what a stream would give that was extended by them.
      ``forward_clip`` also takes a history apart from what is denoised.

    Frames are latent frames. A chunk's conditions count time from the last video frame before it.

    Args:
        network: the DiT whose parts are taken over.
        chunk: latent frames in a chunk; 6 are a second at 24 frames a second.
        sink: chunks at the beginning that are never forgotten; the paper has 3.
        window: last chunks that are remembered; the paper has 2.
        mask: makes the mask of whole clips; ``dense_mask`` if None, ``block_mask`` goes with ``lpm.ops.flex``.
        recompute: keep only the blocks' inputs for the backward pass, and compute the rest again.

    Raises:
        ValueError: a chunk, sink or window out of range, or a network that is no DiT, such as a ``DeferredDiT``.

    Source: LPM 1.0, Online LPM; history apart from what is denoised: Causal Forcing, 2026.
    """

    def __init__(
        self,
        network: DiT,
        chunk: int = 6,
        sink: int = 3,
        window: int = 2,
        mask: MaskBuilder | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if chunk < 1 or sink < 0 or window < 1:
            raise ValueError(
                f"chunk of {chunk} latent frames, sink of {sink} and window of {window} chunks; "
                "choose chunk 1 or more, sink 0 or more, window 1 or more"
            )
        if not isinstance(network, DiT):
            raise ValueError(f"network {type(network).__name__} is no DiT; give CausalDiT a lpm.backbone.DiT")
        self.chunk, self.sink, self.window = chunk, sink, window
        self.mask, self.recompute = mask or dense_mask, recompute
        self.head_width, self.offsets, self.hears = network.head_width, network.offsets, network.hears
        self.embed, self.text, self.speak, self.listen = network.embed, network.text, network.speak, network.listen
        hears = network.speak or network.listen
        self.stride_t = hears.stride_t if hears else 1
        self.time, self.time_modulation = network.time, network.time_modulation
        self.blocks, self.head = network.blocks, network.head

    def forward(
        self,
        noisy_BTCYX: Tensor,
        t_BT: Tensor,
        conditions: Conditions,
        fps: float | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return the prediction (B, T, C, Y, X) for latents with noise level ``t_BT`` per latent frame.

        With a cache, latents are the next chunk or its beginning, and ``fps`` is the cache's. Without, they are a whole
        clip whose frame 0 is the clean first frame (t = 0), as in ``DiT``.

        Raises:
            ValueError: the chunk does not fit the cache.
        """
        if cache is None:
            if fps is None:
                raise ValueError("neither cache nor fps; give a cache for the next chunk, or fps for a whole clip")
            return self.forward_clip(noisy_BTCYX, t_BT, conditions, fps)
        x_BLD, time_BS6D, text, heard = self._open(noisy_BTCYX, t_BT, conditions, cache)
        video = x_BLD.shape[1]
        for i, view in enumerate(cache.views(video)):
            x_BLD, _ = self._block(i, x_BLD, time_BS6D, view, video, text, heard)
        pictures = Pictures(*(cache.rows[name] for name in PICTURES))
        return self.head(x_BLD, self.time(t_BT.to(fine(noisy_BTCYX))), self.embed, pictures)

    def extend(self, latents_BTCYX: Tensor, t_history_BT: Tensor, conditions: Conditions, cache: KVCache) -> None:
        """Remember a chunk: its keys and values at every layer, as they are at noise level ``t_history_BT``.

        Latents stand at that level already (``lpm.flow.interpolate``); 0 is a clean history.

        Raises:
            ValueError: the latents are not one whole chunk, or do not fit the cache.
        """
        if latents_BTCYX.shape[1] != self.chunk:
            raise ValueError(f"{latents_BTCYX.shape[1]} latent frames; extend takes a whole chunk of {self.chunk}")
        x_BLD, time_BS6D, text, heard = self._open(latents_BTCYX, t_history_BT, conditions, cache)
        views = cache.views(x_BLD.shape[1])
        for i, made in enumerate(self._keys(x_BLD, time_BS6D, views, x_BLD.shape[1], text, heard)):
            cache.write(i, made)
        cache.advance()

    def init_cache(
        self,
        picture_BCYX: Tensor,
        conditions: Conditions,
        fps: float,
        stored: type[Stored] | None = None,
        turn_once: bool = False,
    ) -> KVCache:
        """Return the state of new streams, one per row, with the pictures encoded.

        The first frame reads prompt and voices of ``conditions`` once, at its own time, as it does in a clip. Made
        while gradients are on, the cache can be trained through; made under ``torch.no_grad()``, it is written in
        place.

        Args:
            picture_BCYX: latents of the clean first frame.
            conditions: their references are the session's; time counts from the first frame.
            fps: video frames a second.
            stored: how chunks are kept; ``lpm.nn.Exact`` if None, ``lpm.nn.EightBit`` for half the memory.
            turn_once: keep keys after RoPE, too: a few per cent faster at best, for half as much memory again.
        """
        batch, first_B1CYX = picture_BCYX.shape[0], picture_BCYX[:, None]
        text, heard = self._read(conditions, batch, 1, fps)
        none_1 = torch.zeros(1, dtype=fine(picture_BCYX), device=picture_BCYX.device)
        first_B1LD = self.embed.images(first_B1CYX)
        segments = [video_segment(first_B1LD, none_1, none_1.expand(batch, 1), self.embed, first_B1CYX)]
        if conditions.references is not None:
            segments.append(reference_segment(self.embed, self.offsets, conditions))
        x_BLD, positions_BL3 = join_tokens(segments)
        rotation, exists = make_rotary(positions_BL3, self.head_width), join_masks(segments)
        view, tokens = Whole(rotation, exists), first_B1LD.shape[2]
        made = list(self._keys(x_BLD, self._levels(join_times(segments)), repeat(view), tokens, text, heard))
        if exists is not None and bool(exists.all()):
            exists = None  # attention without a mask is faster
        height, width = (side // self.embed.patch for side in picture_BCYX.shape[-2:])
        turns = chunk_turns(self.chunk, self.sink + self.window + 1, height, width, none_1)
        return KVCache(
            sink=self.sink,
            window=self.window,
            turns=Rotary(*(x.squeeze(1) for x in make_rotary(turns, self.head_width))),
            still=[KeyValue(rotate(key, rotation), value.contiguous()) for key, value in made],
            still_mask_BL=None if exists is None else exists[:, 0, 0],
            layers=[(stored or Exact).empty(pair, self.sink + self.window, self.chunk * tokens) for pair in made],
            count_B=torch.zeros(batch, dtype=torch.int64, device=picture_BCYX.device),
            rows={**dict(zip(PICTURES, pictures_of(picture_BCYX, conditions))), "first": first_B1LD},
            fps=fps,
            in_place=not torch.is_grad_enabled(),
            turn_once=turn_once,
        )

    def forward_clip(
        self,
        noisy_BTCYX: Tensor,
        t_BT: Tensor,
        conditions: Conditions,
        fps: float,
        history_BTCYX: Tensor | None = None,
        t_history_BT: Tensor | None = None,
    ) -> Tensor:
        """Return the prediction (B, T, C, Y, X) of a whole clip, whose frame 0 is the clean first frame.

        Without a history, chunks look back to each other as they stand, each at its own noise level (diffusion
        forcing). With one, of the same shape, chunks of ``noisy`` look back to chunks of ``history`` (teacher forcing):
        ``forward`` after ``extend`` for all chunks at once. Frame 0 is the same in both.
        """
        frames = lay_out(noisy_BTCYX, t_BT, history_BTCYX, t_history_BT)
        text, heard = self._read(conditions, noisy_BTCYX.shape[0], frames.clip, fps)
        heard = pick(heard, frames.time_F)
        latents = frames.latents_BFCYX
        segments = [
            video_segment(self.embed(latents), frames.time_F.to(fine(latents)), frames.t_BF, self.embed, latents)
        ]
        if conditions.references is not None:
            segments.append(reference_segment(self.embed, self.offsets, conditions))
        view = clip_view(segments, frames, self.head_width, self.chunk, self.sink, self.window, self.mask)
        x_BLD, time_BS6D = join_tokens(segments)[0], self._levels(join_times(segments))
        by_frame = (len(frames.time_F), segments[0].tokens_BFLD.shape[2])
        for i in range(len(self.blocks)):
            x_BLD, _ = self._block(i, x_BLD, time_BS6D, view, by_frame[0] * by_frame[1], text, heard)
        made_T = frames.predicted()
        x_BLD = x_BLD[:, : by_frame[0] * by_frame[1]].unflatten(1, by_frame)[:, made_T].flatten(1, 2)
        pictures = pictures_of(latents[:, 0], conditions)
        return self.head(x_BLD, self.time(segments[0].t_BF[:, made_T]), self.embed, pictures)

    def _open(
        self, latents_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, cache: KVCache
    ) -> tuple[Tensor, Tensor, TextFeatures, Heard]:
        """Return a chunk's tokens, their modulation, and what they read."""
        batch, frames = latents_BTCYX.shape[:2]
        picture_BCYX = cache.rows["picture"]
        if (batch, *latents_BTCYX.shape[2:]) != tuple(picture_BCYX.shape) or not 1 <= frames <= self.chunk:
            raise ValueError(
                f"latents of {tuple(latents_BTCYX.shape)} cannot follow a first frame of {tuple(picture_BCYX.shape)}; "
                f"give 1 to {self.chunk} latent frames of its size"
            )
        if cache.in_place and torch.is_grad_enabled():
            raise ValueError(
                "the cache is written in place, which would corrupt gradients; run under torch.no_grad(), or make the "
                "cache, or take a copy of it, while gradients are on"
            )
        text, heard = self._read(chunk_time(conditions, self.stride_t / cache.fps), batch, frames, cache.fps)
        tokens_BFLD = self.embed.later(latents_BTCYX, cache.rows["first"])
        return tokens_BFLD.flatten(1, 2), self._levels(t_BT.to(fine(latents_BTCYX))), text, heard

    def _levels(self, t_BS: Tensor) -> Tensor:
        """Return the modulation of every slot of tokens, (B, S, 6, D)."""
        return self.time_modulation(F.silu(self.time(t_BS))).unflatten(-1, (6, -1))

    def _read(self, conditions: Conditions, batch: int, frames: int, fps: float) -> tuple[TextFeatures, Heard]:
        return read_conditions(self.text, self.speak, self.listen, conditions, batch, frames, fps)

    def _block(
        self, index: int, x_BLD: Tensor, time_BS6D: Tensor, view: View, video: int, text: TextFeatures, heard: Heard
    ) -> tuple[Tensor, KeyValue]:
        """Run one block."""
        inputs = (x_BLD, time_BS6D, view, video, text, heard_by(self.hears, index, heard))
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.blocks[index], *inputs, use_reentrant=False)
        return self.blocks[index](*inputs)

    def _keys(
        self, x_BLD: Tensor, time_BS6D: Tensor, views: Iterable[View], video: int, text: TextFeatures, heard: Heard
    ) -> Iterator[KeyValue]:
        """Yield the keys (before RoPE) and values of every block; of the last block, nothing else is computed."""
        last = len(self.blocks) - 1
        for i, view in zip(range(last), views):
            x_BLD, made = self._block(i, x_BLD, time_BS6D, view, video, text, heard)
            yield made
        yield cast(Block, self.blocks[last]).key_value(x_BLD, time_BS6D)


def chunk_time(conditions: Conditions, seconds: float) -> Conditions:
    """Return the conditions of a chunk as its first latent frame hears them, which ends ``seconds`` after time 0."""

    def later(audio: AudioFeatures | None) -> AudioFeatures | None:
        return audio and replace(audio, start=audio.start - seconds)

    return replace(conditions, speak=later(conditions.speak), listen=later(conditions.listen))


def pick(heard: Heard, index_F: Tensor) -> Heard:
    """Return what the frames of the given places in the clip hear."""
    voice, partner = heard
    return voice if voice is None else voice[:, index_F], partner if partner is None else partner[:, index_F]
