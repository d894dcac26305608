"""Streams whose voices are known already: clips for measuring, minutes of video for drift."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lpm.stream.sampler import StreamSampler
from lpm.stream.session import Opening
from lpm.types import SAMPLE_RATE, Batch


@torch.no_grad()
def stream_batch(
    sampler: StreamSampler, batch: Batch, frames: int | None = None, references: bool = True, seed: int = 0
) -> Iterator[Tensor]:
    """Yield the videos of a batch as the sampler makes them, chunk by chunk: (B, T, 3, H, W) in [-1, 1].

    The rows are streams in step. Each begins with its first frame; before that, as in any stream, all is silent, and
    so it is after the end of the sound.

    Args:
        sampler: what performs.
        batch: voices, prompts, references and, in ``video_BTCHW[:, 0]``, the first frame; later frames are not read.
        frames: length; that of ``video_BTCHW`` if None.
        references: let the streams see the references.
        seed: of all noise.

    Raises:
        ValueError: no pixels, or prompts that change.
    """
    if batch.video_BTCHW is None:
        raise ValueError("a stream needs the first frame's pixels; load video, not latents alone")
    if any(batch.prompts or []):
        raise ValueError("prompts that change are steered from outside; use StreamSampler.open and steer")
    frames = batch.video_BTCHW.shape[1] if frames is None else frames
    pictures = batch.references if references else None
    session = sampler.open(Opening(batch.video_BTCHW[:, 0], pictures, batch.text, batch.fps, seed=seed))
    for ear, voice_BS in ((session.speak, batch.speak_BS), (session.listen, batch.listen_BS)):
        if ear is not None:
            ear.push(voice_BS[:, round(batch.history * SAMPLE_RATE) :])
    shown = 0
    while shown < frames:
        work = sampler.begin(session)
        if work is None:
            for ear, count in zip((session.speak, session.listen), sampler.missing(session)):
                if ear is not None:
                    ear.push(ear.waiting_BS.new_zeros(len(batch.keys), count))
        elif (piece := sampler.make(work, session)) is not None:
            yield piece.video_BTCHW[:, : frames - shown]
            shown += piece.video_BTCHW.shape[1]
