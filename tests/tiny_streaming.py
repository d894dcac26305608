"""A tiny performer that streams, what it begins with, and the same performance made offline, written for reading."""

from dataclasses import replace

import numpy as np
import torch

from lpm.backbone import CausalDiT, puppet
from lpm.codec import TinyCodec
from lpm.condition import ByteText, LogMelEncoder
from lpm.flow import PredictClean, Residual
from lpm.sample import FewSteps, PerformanceModel, add_noise, make_chunk, remember
from lpm.stream import ChunkNoise, Opening, StreamSampler
from lpm.types import Conditions, References

FPS, CHUNK = 24.0, 2  # 8 video frames, a third of a second
STEPS, REFINE = FewSteps((1.0, 0.7), history=0.2), FewSteps((0.5,), history=0.0)


def shaken(module, seed=0):
    torch.manual_seed(seed)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module


def network(seed=0):
    torch.manual_seed(seed)
    return shaken(puppet(8, 12, 2, 2, 8, 8, summary=2), seed)


def performer():
    torch.manual_seed(0)
    codec = TinyCodec(8, width=8, blocks=1)
    speak, listen = LogMelEncoder(8, 50.0, mels=8), LogMelEncoder(8, 12.5, mels=8)
    return PerformanceModel(network(), codec, ByteText(8), speak, listen, PredictClean(), Residual(1.0)).double()


def refiner(chunk=CHUNK):
    return CausalDiT(network(seed=1), chunk, sink=1, window=2).double()


def sampler(model, **settings):
    known = {"steps": STEPS, "chunk": CHUNK, "sink": 1, "window": 2}
    return StreamSampler(model, **known | settings)


def opening(seed=0, text="calm", side=16, **settings):
    generator = torch.Generator().manual_seed(seed + 100)
    picture, reference = torch.rand(2, 1, 3, side, side, generator=generator, dtype=torch.float64) * 2 - 1
    kinds = torch.zeros(1, 1, dtype=torch.int64)
    references = References(kinds, kinds, kinds == 0, pixels_BRCHW=reference[None])
    return Opening(picture, references, [text], FPS, seed=seed, **settings)


def stream(streamer, session, voices, cuts=None):
    """Push two voices in pieces that end at ``cuts``, take every chunk as soon as it can be made: (T, 3, H, W)."""
    video, at = [], 0
    for cut in [*(cuts or []), max(map(len, voices))]:
        for ear, samples in zip((session.speak, session.listen), voices):
            ear.push(torch.from_numpy(samples[at:cut])[None])
        video += [piece.video_BTCHW[0] for piece in streamer.advance(session)]
        at = cut
    video += [piece.video_BTCHW[0] for piece in streamer.flush(session)]
    return torch.cat(video) if video else torch.zeros(0, 3, 16, 16)


@torch.no_grad()
def offline(streamer, begin, voices, chunks, refine_with=None):
    """The whole performance with both voices known: one encoding of each, one loop, one decoding."""
    model, backbone = streamer.model, streamer.backbone
    still, history = np.zeros(round(streamer.history * 16_000), np.float32), streamer.history

    def features(encoder, samples):
        samples_BS = torch.from_numpy(np.concatenate([still, samples]))[None].double()
        return replace_start(encoder, encoder(samples_BS), -history)

    references = replace(
        begin.references, latents_BRCYX=model.codec.encode_frames(begin.references.pixels_BRCHW[0])[None]
    )
    whole = Conditions(
        features(model.speak, voices[0]), features(model.listen, voices[1]), model.text(begin.text), references
    )
    picture = model.codec.encode_frames(begin.picture_B3HW)
    cache = backbone.init_cache(picture, whole, begin.fps)
    made = []
    for chunk in range(chunks):
        seconds = chunk * backbone.chunk * 4 / begin.fps
        heard = replace(whole, speak=later(whole.speak, seconds), listen=later(whole.listen, seconds))
        noise = ChunkNoise(begin.seed, chunk, 0)
        start = noise(picture.new_empty(1, backbone.chunk, *picture.shape[1:]))
        clean = make_chunk(backbone, start, heard, cache, model.prediction, STEPS, noise)
        remember(backbone, clean, heard, cache, STEPS, noise)
        made.append((clean, heard))
    if refine_with is not None:
        cache = refine_with.init_cache(picture, whole, begin.fps)
        for chunk, (clean, heard) in enumerate(made):
            noise = ChunkNoise(begin.seed, chunk, 1)
            start = add_noise(clean, REFINE.levels[0], noise)
            refined = make_chunk(refine_with, start, heard, cache, model.prediction, REFINE, noise)
            remember(refine_with, refined, heard, cache, REFINE, noise)
            made[chunk] = (refined, heard)
    latents = torch.cat([picture[:, None], *(clean for clean, _ in made)], dim=1)
    return model.codec.decode(model.coordinates.leave(latents))[0].clamp(-1, 1)


def replace_start(encoder, tokens_BAD, start):
    from lpm.types import AudioFeatures

    return AudioFeatures(tokens_BAD, encoder.rate, start)


def later(audio, seconds):
    return replace(audio, start=audio.start - seconds)
