"""`lpm generate`: files in, one mp4 with sound out."""

from pathlib import Path

import torch

from lpm.data import write_video
from lpm.train.checkpoint import load_performer
from lpm.train.frames import to_uint8
from lpm.train.request import Request, sound_of, to_batch


def generate(
    image: Path,
    output: Path,
    model: Path | None = None,
    adapter: Path | None = None,
    speak: Path | None = None,
    listen: Path | None = None,
    text: str = "",
    references: list[str] | None = None,
    seconds: float | None = None,
    size: int = 96,
    fps: float = 24.0,
    steps: int = 2,
    chunk: int = 24,
    guidance: dict[str, float] | None = None,
    seed: int = 0,
) -> None:
    """Make a video of a character from a picture, two voices and a prompt.

    Example: lpm generate portrait.png hello.mp4 --speak voice.wav --text "a calm person"

    Args:
        image: first frame of the video; also the global reference unless one is given.
        output: mp4 to write, with the sound of both voices.
        model: checkpoint of `lightning fit --config recipes/base.yaml`, weights folder or repository of the Hub; if not
            given the adapter's base, or the shipped puppet weights.
        adapter: folder or repository of an adapter trained with recipes/overlay/lora.yaml.
        speak: the character's own voice; any sound file.
        listen: the partner's voice.
        text: prompt, at most 512 bytes.
        references: pictures of the character as `global=FILE`, `body.left=FILE` or `expression.happy=FILE`.
        seconds: length; that of the longer voice if not given.
        size: height and width of the video, divisible by 16.
        fps: frames a second.
        steps: solver steps per chunk.
        chunk: new frames per chunk, divisible by 4.
        guidance: scale by stream, such as {speak: 1.5}.
        seed: of the noise.
    """
    batch = to_batch(Request(image, output, speak, listen, text, references or [], seconds), size, fps)
    performer = load_performer(model, adapter)
    frames, generator = batch.state_BT.shape[1], torch.Generator().manual_seed(seed)
    video = performer.perform(batch, frames=frames, steps=steps, chunk=chunk, scales=guidance, generator=generator)
    write_video(output, to_uint8(video[0]), fps, sound_of(batch))
    print(f"wrote {output}: {frames} frames, {frames / fps:.2f} s")
