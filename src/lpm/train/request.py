"""What to perform, as files: pictures, voices and a prompt -> a batch of one row."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lpm.condition import check_references
from lpm.data import SUB_KINDS, read_audio
from lpm.data.rgb import to_rgb
from lpm.sample.chunks import check_rate
from lpm.train.frames import to_pixels
from lpm.types import REFERENCE_KINDS, SAMPLE_RATE, Batch, Prompt, References

HISTORY, LOOKAHEAD = 2.6, 0.2


@dataclass
class Request:
    """One video to make.

    Attributes:
        image: first frame of the video; also the global reference unless one is given.
        output: mp4 to write, with the sound of both voices.
        speak: the character's own voice; any sound file.
        listen: the partner's voice.
        text: prompt, at most 512 bytes.
        references: pictures of the character as ``global=FILE``, ``body.left=FILE`` or ``expression.happy=FILE``.
        seconds: length; that of the longer voice if None.
        negative: what guidance of text leads away from; needs a guidance scale of text.
        prompts: take over from ``text`` at their ``start``, in seconds, with the next chunk.
    """

    image: Path
    output: Path
    speak: Path | None = None
    listen: Path | None = None
    text: str = ""
    references: list[str] = field(default_factory=list)
    seconds: float | None = None
    negative: str = ""
    prompts: list[Prompt] = field(default_factory=list)


def to_batch(request: Request, size: int, fps: float) -> Batch:
    """Read a request's files; the video's length is that of ``state_BT``.

    Raises:
        ValueError: a file is missing or not what it should be, or there is nothing to perform.
    """
    check_size(size)
    check_output(Path(request.output))
    voices = [read_audio(path) if path else np.zeros(0, np.float32) for path in (request.speak, request.listen)]
    frames = frame_count(request.seconds, max(map(len, voices)) / SAMPLE_RATE, fps)
    first = read_picture(Path(request.image), size)
    return Batch(
        keys=[Path(request.image).stem],
        fps=fps,
        speak_BS=pad_voice(voices[0], frames / fps),
        listen_BS=pad_voice(voices[1], frames / fps),
        history=HISTORY,
        text=[request.text],
        state_BT=torch.full((1, frames), -1),
        references=read_references(request.references, Path(request.image), size),
        video_BTCHW=first[None, None],
        meta=[{"output": str(request.output)}],
        negative=[request.negative] if request.negative else None,
        prompts=[request.prompts] if request.prompts else None,
    )


def sound_of(batch: Batch, row: int = 0) -> np.ndarray:
    """Return both voices of one clip as long as its video, summed and clipped to [-1, 1]: (S,)."""
    first, seconds = round(batch.history * SAMPLE_RATE), batch.state_BT.shape[1] / batch.fps
    both = (batch.speak_BS + batch.listen_BS)[row, first : first + round(seconds * SAMPLE_RATE)]
    return both.clamp(-1, 1).cpu().numpy()


def check_size(size: int) -> None:
    """Raise ValueError unless a picture of this height and width divides into the network's patches."""
    if size < 16 or size % 16:
        raise ValueError(
            f"size of {size} does not divide by 16; choose {max(16, size // 16 * 16)} or {size // 16 * 16 + 16}"
        )


def check_output(path: Path) -> None:
    """Raise ValueError unless a file can have this name, before there is anything to write."""
    if not path.parent.is_dir():
        raise ValueError(f"folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise ValueError(f"output {path} is a folder; name a file, such as {path / 'video.mp4'}")


def read_references(words: list[str], image: Path, size: int) -> References:
    """Read references such as ``global=FILE``; ``image`` is the global one where none is given."""
    named = [parse_reference(word) for word in words]
    if not any(kind == "global" for kind, _, _ in named):
        named.insert(0, ("global", "", image))
    kind = [REFERENCE_KINDS.index(kind) for kind, _, _ in named]
    sub_kind = [SUB_KINDS[kind].index(sub) for kind, sub, _ in named]
    pictures = torch.stack([read_picture(path, size) for _, _, path in named])
    made = References(torch.tensor([kind]), torch.tensor([sub_kind]), torch.ones(1, len(kind)).bool(), pictures[None])
    check_references(made)
    return made


def frame_count(seconds: float | None, heard: float, fps: float) -> int:
    """Return the frames, 1 + 4k, that cover ``seconds``, or what is heard if None.

    >>> frame_count(None, heard=1.0, fps=24.0)
    25
    """
    check_rate(fps)
    length = heard if seconds is None else seconds
    if not length < math.inf:
        raise ValueError(f"seconds of {seconds} is not finite; choose a length such as 10")
    if not length > 0:
        raise ValueError("nothing to perform: give --speak, --listen or --seconds")
    return 1 + 4 * max(1, -(-round(length * fps) // 4))


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
    """Return a picture as (3, size, size) in [-1, 1]: the middle square, resized, seen as in a viewer (``to_rgb``)."""
    if not path.is_file():
        raise ValueError(f"picture {path} is missing; check the path")
    try:
        with Image.open(path) as picture:
            square = ImageOps.fit(to_rgb(picture), (size, size), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no picture ({error}); give a png or jpeg") from error
    return to_pixels(np.asarray(square))


def pad_voice(samples: np.ndarray, seconds: float) -> Tensor:
    """Return (1, S): silence of the history, the voice, silence to the end of the video and look-ahead."""
    count = round((seconds + LOOKAHEAD) * SAMPLE_RATE)
    voice = np.pad(samples[:count], (round(HISTORY * SAMPLE_RATE), max(0, count - len(samples))))
    return torch.from_numpy(voice.astype(np.float32))[None]
