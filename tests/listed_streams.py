"""A stream written with lists and concatenation only: the reference of streams through a cache."""

import torch
import torch.nn.functional as F
from einops import rearrange

from lpm.backbone import pictures_of
from lpm.backbone.context import heard_by, read_conditions
from lpm.backbone.segments import reference_segment
from lpm.ops import add_gated, make_rotary, modulate, rotate
from tiny_streams import FPS, at


class Lists:
    """A stream whose memory is a list of (chunk, key, value) for each block; nothing is ever overwritten."""

    def __init__(self, model, picture, conditions):
        self.model, self.picture, self.count = model, picture, 0
        self.memory = [[] for _ in model.blocks]
        self.first = model.embed.images(picture[:, None])
        self.pictures = pictures_of(picture, conditions)
        references = reference_segment(model.embed, model.offsets, conditions)
        times, tokens = torch.zeros(1, 1, dtype=picture.dtype), self.first.shape[2]
        self.mask = F.pad(
            references.mask_BF.repeat_interleave(references.tokens_BFLD.shape[2], 1), (tokens, 0), value=True
        )
        self.positions = torch.cat([self.grid(times), references.positions_BN3[:1]], 1)
        levels = torch.cat([picture.new_zeros(len(picture), 1), references.t_BF], 1)
        x = torch.cat([self.first.flatten(1, 2), references.tokens_BFLD.flatten(1, 2)], 1)
        text, heard = self.read(conditions, 1)
        self.still = []
        for i, block in enumerate(model.blocks):
            x, made = self.block(
                block, x, levels, [], self.positions, [], tokens, text, heard_by(self.model.hears, i, heard)
            )
            self.still.append(made)

    def grid(self, times):
        y, x = (side // self.model.embed.patch for side in self.picture.shape[-2:])
        t, y, x = torch.meshgrid(*(x.to(times) for x in (times[0], torch.arange(y), torch.arange(x))), indexing="ij")
        return torch.stack([t, y, x], -1).reshape(1, -1, 3)

    def read(self, conditions, frames):
        model = self.model
        return read_conditions(model.text, model.speak, model.listen, conditions, len(self.picture), frames, FPS)

    def seen(self, memory):
        """Give the chunks that the next one sees, each with its place in the window."""
        sink, full = self.model.sink, self.model.sink + self.model.window
        first = [(place, *pair) for place, pair in enumerate(memory[:sink])]
        last = memory[sink:][-self.model.window :]
        end = min(self.count, full)
        return first + [(end - len(last) + place, *pair) for place, pair in enumerate(last)]

    def block(self, block, x, levels, past, now, still, video, text, heard):
        """One block, attention and all, by the book."""
        six = self.model.time_modulation(F.silu(self.model.time(levels))).unflatten(-1, (6, -1)) + block.modulation
        layer, normed = block.attention, modulate(x, six[:, :, 0], six[:, :, 1])
        query, key, value = layer.qkv(normed).chunk(3, -1)
        query, key, value = (
            rearrange(y, "b l (h k) -> b h l k", h=layer.heads)
            for y in (layer.norm_query(query), layer.norm_key(key), value)
        )
        width = key.shape[-1]
        keys = [rotate(k, make_rotary(self.positions, width)) for k, _ in still]
        for place, k, _ in past:
            keys.append(rotate(k, make_rotary(self.chunk(place), width)))
        keys.append(rotate(key, make_rotary(now, width)))
        values = torch.cat([*(v for _, v in still), *(v for _, _, v in past), value], 2)
        score = rotate(query, make_rotary(now, width)) @ torch.cat(keys, 2).transpose(-1, -2) / width**0.5
        hidden = F.pad(~self.mask, (0, score.shape[-1] - self.mask.shape[1]))
        read = score.masked_fill(hidden[:, None, None], -torch.inf).softmax(-1) @ values
        x = add_gated(x, layer.out(rearrange(read, "b h l k -> b l (h k)")), six[:, :, 2])
        x = torch.cat([x[:, :video] + block.cross(x[:, :video], text, heard), x[:, video:]], 1)
        return add_gated(x, block.feed_forward(modulate(x, six[:, :, 3], six[:, :, 4])), six[:, :, 5]), (key, value)

    def chunk(self, place):
        begin = 1 + place * self.model.chunk
        return self.grid(torch.arange(begin, begin + self.model.chunk, dtype=self.picture.dtype)[None])

    def run(self, latents, levels, conditions):
        """Return the prediction of the next chunk, and its keys and values."""
        frames = self.model.chunk
        later = at(conditions, 1, 1)
        text, heard = self.read(later, frames)
        x, made = self.model.embed.later(latents, self.first).flatten(1, 2), []
        for i, block in enumerate(self.model.blocks):
            past, now = self.seen(self.memory[i]), self.chunk(min(self.count, self.model.sink + self.model.window))
            x, pair = self.block(
                block, x, levels, past, now, [self.still[i]], x.shape[1], text, heard_by(self.model.hears, i, heard)
            )
            made.append(pair)
        return self.model.head(x, self.model.time(levels), self.model.embed, self.pictures), made

    def __call__(self, latents, levels, conditions):
        return self.run(latents, levels, conditions)[0]

    def extend(self, latents, levels, conditions):
        for memory, pair in zip(self.memory, self.run(latents, levels, conditions)[1]):
            memory.append(pair)
        self.count += 1
