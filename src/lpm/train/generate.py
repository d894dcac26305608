"""`lpm generate`: files in, one mp4 with sound out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lpm.data import write_video
from lpm.data.puppets.progress import track
from lpm.sample import Schedule
from lpm.train.checkpoint import load_performer
from lpm.train.frames import to_frames
from lpm.train.request import Request, sound_of, to_batch
from lpm.train.timeline import read_prompts


def generate(
    image: Path,
    output: Path,
    model: Path | None = None,
    adapter: Path | None = None,
    speak: Path | None = None,
    listen: Path | None = None,
    text: str = "",
    negative: str = "",
    prompts: Path | None = None,
    references: list[str] | None = None,
    seconds: float | None = None,
    size: int = 96,
    fps: float = 24.0,
    steps: int = 2,
    chunk: int = 24,
    overlap: int = 0,
    guidance: dict[str, float] | None = None,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> None:
    """Make a video of a character from a picture, two voices and a prompt; of any length, in bounded memory.

    Example:
        lpm generate portrait.png hello.mp4 --speak voice.wav --text "a calm person"
        lpm generate portrait.png long.mp4 --speak voice.wav --prompts day.yaml --negative "a blur" --guidance.text 3
        lpm generate portrait.png hello.mp4 --seconds 9 --guidance.text 2 --schedule lpm.sample.GuidanceInterval

    Args:
        image: first frame of the video; also the global reference unless one is given.
        output: mp4 to write, with the sound of both voices.
        model: checkpoint of `lightning fit --config recipes/base.yaml`, weights folder or repository of the Hub; if not
            given the adapter's base, or the shipped puppet weights.
        adapter: folder or repository of an adapter trained with recipes/overlay/lora.yaml.
        speak: the character's own voice; any sound file.
        listen: the partner's voice.
        text: prompt, at most 512 bytes.
        negative: prompt that guidance of text leads away from; needs a guidance scale of text.
        prompts: JSON or YAML file of prompts that take over from `text`: a list of {start: SECONDS, text: PROMPT}, or
            of prompts alone, one per 125 frames. They change with the next chunk.
        references: pictures of the character as `global=FILE`, `body.left=FILE` or `expression.happy=FILE`.
        seconds: length; that of the longer voice if not given.
        size: height and width of the video, divisible by 16.
        fps: frames a second.
        steps: solver steps per chunk.
        chunk: new frames per chunk, divisible by 4.
        overlap: latent frames (4 frames each) at the end of a chunk that the next one makes once more and fades into.
        guidance: scale by stream (text, speak, listen, references), such as {speak: 1.5}; the model's own where absent.
        schedule: where on the noise path guidance is on, such as lpm.sample.GuidanceInterval; everywhere if not given.
        seed: of the noise.
    """
    later = read_prompts(prompts, fps) if prompts else []
    request = Request(image, output, speak, listen, text, references or [], seconds, negative, later)
    batch = to_batch(request, size, fps)
    performer = load_performer(model, adapter)
    frames, generator = batch.state_BT.shape[1], torch.Generator().manual_seed(seed)
    pieces = performer.perform_chunks(
        batch, frames, steps, chunk, scales=guidance, generator=generator, overlap=overlap, schedule=schedule
    )
    write_video(output, shown(pieces, frames), fps, sound_of(batch))
    print(f"wrote {output}: {frames} frames, {frames / fps:.2f} s")


def shown(pieces: Iterator[Tensor], frames: int) -> Iterator[np.ndarray]:
    """Yield the frames of a video with a progress bar."""
    with track(frames, "video") as advance:
        for frame in to_frames(pieces):
            yield frame
            advance(1)
