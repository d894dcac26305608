"""`lpm generate`: files in, one mp4 with sound out."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lpm.data import SUB_KINDS, read_audio, write_video
from lpm.train.checkpoint import load_model
from lpm.train.frames import to_pixels, to_uint8
from lpm.types import REFERENCE_KINDS, SAMPLE_RATE, Batch, References

HISTORY, LOOKAHEAD = 2.6, 0.2


def generate(
    model: Path,
    image: Path,
    output: Path,
    speak: Path | None = None,
    listen: Path | None = None,
    text: str = "",
    references: list[str] | None = None,
    seconds: float | None = None,
    size: int = 96,
    fps: float = 24.0,
    steps: int = 8,
    chunk: int = 24,
    guidance: dict[str, float] | None = None,
    seed: int = 0,
) -> None:
    """Make a video of a character from a picture, two voices and a prompt.

    Example: lpm generate last.ckpt portrait.png hello.mp4 --speak voice.wav --text "a calm person"

    Args:
        model: checkpoint of `lightning fit --config recipes/base.yaml`, or a weights folder.
        image: first frame of the video; also the global reference unless one is given.
        output: mp4 to write, with the sound of both voices.
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
    if size < 16 or size % 16:
        raise ValueError(
            f"size of {size} does not divide by 16; choose {max(16, size // 16 * 16)} or {size // 16 * 16 + 16}"
        )
    if not output.parent.is_dir():
        raise ValueError(f"folder {output.parent} does not exist; make it first")
    voices = [read_audio(path) if path else np.zeros(0, np.float32) for path in (speak, listen)]
    frames = frame_count(seconds, max(map(len, voices)) / SAMPLE_RATE, fps)
    batch = files_to_batch(image, references or [], voices, text, frames, size, fps)
    performer = load_model(model)
    generator = torch.Generator().manual_seed(seed)
    video = performer.perform(batch, frames=frames, steps=steps, chunk=chunk, scales=guidance, generator=generator)
    write_video(output, to_uint8(video[0]), fps, mix(voices, frames / fps))
    print(f"wrote {output}: {frames} frames, {frames / fps:.2f} s")


def frame_count(seconds: float | None, heard: float, fps: float) -> int:
    """Return the frames, 1 + 4k, that cover ``seconds``, or what is heard if None.

    >>> frame_count(None, heard=1.0, fps=24.0)
    25
    """
    if not fps > 0:
        raise ValueError(f"fps of {fps} is not positive; choose 24")
    length = heard if seconds is None else seconds
    if not length > 0:
        raise ValueError("nothing to perform: give --speak, --listen or --seconds")
    return 1 + 4 * max(1, -(-round(length * fps) // 4))


def files_to_batch(
    image: Path, references: list[str], voices: list[np.ndarray], text: str, frames: int, size: int, fps: float
) -> Batch:
    """Read pictures and put everything into a batch of one row."""
    first = read_picture(image, size)
    named = [parse_reference(word) for word in references]
    if not any(kind == "global" for kind, _, _ in named):
        named.insert(0, ("global", "", image))
    kind = [REFERENCE_KINDS.index(kind) for kind, _, _ in named]
    sub_kind = [SUB_KINDS[kind].index(sub) for kind, sub, _ in named]
    pictures = torch.stack([read_picture(path, size) for _, _, path in named])
    return Batch(
        keys=[image.stem],
        fps=fps,
        speak_BS=pad_voice(voices[0], frames / fps),
        listen_BS=pad_voice(voices[1], frames / fps),
        history=HISTORY,
        text=[text],
        state_BT=torch.full((1, frames), -1),
        references=References(
            torch.tensor([kind]), torch.tensor([sub_kind]), torch.ones(1, len(kind)).bool(), pictures[None]
        ),
        video_BTCHW=first[None, None],
    )


def parse_reference(word: str) -> tuple[str, str, Path]:
    """Split ``kind[.sub_kind]=path``.

    >>> parse_reference("expression.happy=smile.png")
    ('expression', 'happy', PosixPath('smile.png'))
    """
    name, equals, path = word.partition("=")
    kind, _, sub_kind = name.partition(".")
    if not equals or kind not in SUB_KINDS or sub_kind not in SUB_KINDS[kind]:
        allowed = ", ".join(f"{kind}.{sub}" if sub else kind for kind, subs in SUB_KINDS.items() for sub in subs)
        raise ValueError(f"reference {word!r} is not KIND=FILE with one of the kinds {allowed}")
    return kind, sub_kind, Path(path)


def read_picture(path: Path, size: int) -> Tensor:
    """Return a picture as (3, size, size) in [-1, 1]: the middle square, resized."""
    if not path.is_file():
        raise ValueError(f"picture {path} is missing; check the path")
    try:
        with Image.open(path) as picture:
            square = ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no picture ({error}); give a png or jpeg") from error
    return to_pixels(np.asarray(square))


def pad_voice(samples: np.ndarray, seconds: float) -> Tensor:
    """Return (1, S): silence of the history, the voice, silence to the end of the video and look-ahead."""
    count = round((seconds + LOOKAHEAD) * SAMPLE_RATE)
    voice = np.pad(samples[:count], (round(HISTORY * SAMPLE_RATE), max(0, count - len(samples))))
    return torch.from_numpy(voice.astype(np.float32))[None]


def mix(voices: list[np.ndarray], seconds: float) -> np.ndarray:
    """Return both voices summed, (S,), clipped to [-1, 1]."""
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for voice in voices:
        count = min(len(voice), len(sound))
        sound[:count] += voice[:count]
    return sound.clip(-1, 1)
