"""Where a stream goes: an mp4 that grows, or raw frames into a pipe."""

import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import av
import numpy as np

from lpm.data.video import BT601, EXACT
from lpm.stream.sources import is_pipe
from lpm.types import SAMPLE_RATE

STANDARD_OUTPUT = "-"
GROWING = "frag_keyframe+delay_moov+default_base_moof"  # playable as it grows; the muxer keeps no index in memory


class Sink(Protocol):
    """Takes frames with their sound; a context that ends well keeps what was written, and one that fails does not."""

    def write(self, picture_HWC: np.ndarray, sound_S: np.ndarray) -> None:
        """Append one RGB uint8 frame and the samples that sound with it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: Any) -> None: ...


class Part:
    """A file that gets its name when it is complete.

    It stays complete when somebody interrupts the stream; an error, or nothing written, leaves no file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, path.with_name(f".{path.name}.{os.getpid()}.part")
        self.file: BinaryIO = self.part.open("wb")

    def close(self, keep: bool) -> None:
        """Finish: keep the file under its name, or remove it."""
        self.file.close()
        if keep:
            self.part.replace(self.path)
        self.part.unlink(missing_ok=True)


class Mp4Sink:
    """H.264 and AAC in a fragmented mp4, which takes the same memory after an hour as after a minute.

    Args:
        path: target, replaced when the stream ends.
        fps: frames a second.
        sound: with sound.
        crf: quality; 18 is visually lossless.
    """

    def __init__(self, path: Path, fps: float, sound: bool = True, crf: int = 18) -> None:
        self.part, self.rate, self.crf = Part(path), Fraction(fps).limit_denominator(1001), crf
        self.with_sound, self.frames, self.samples = sound, 0, 0
        self.container: Any = None

    def write(self, picture_HWC: np.ndarray, sound_S: np.ndarray) -> None:
        """Append one frame and its samples."""
        if self.container is None:
            self._open(*picture_HWC.shape[:2])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HWC), format="rgb24")
        frame.pts, frame.time_base = self.frames, 1 / self.rate
        self.frames += 1
        self.container.mux(self.video.encode(frame))
        if self.audio is not None and len(sound_S):
            samples = np.ascontiguousarray(sound_S, np.float32).clip(-1, 1)[None]
            voice = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            voice.sample_rate, voice.pts, voice.time_base = SAMPLE_RATE, self.samples, Fraction(1, SAMPLE_RATE)
            self.samples += len(sound_S)
            self.container.mux(self.audio.encode(voice))

    def _open(self, height: int, width: int) -> None:
        self.container = av.open(self.part.file, "w", format="mp4", options={"movflags": GROWING})
        second = str(max(1, int(self.rate)))
        self.video = self.container.add_stream(
            "libx264", rate=self.rate, options={"crf": str(self.crf), "g": second, "tune": "zerolatency", **EXACT}
        )
        self.video.height, self.video.width, self.video.pix_fmt = height, width, "yuv420p"
        self.video.codec_context.colorspace = BT601
        self.video.codec_context.thread_count = 1
        self.audio = self.container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if self.with_sound else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: Any) -> None:
        keep = ends_well(kind) and self.container is not None
        try:
            if keep:
                self.container.mux(self.video.encode(None))
                if self.audio is not None and self.samples:
                    self.container.mux(self.audio.encode(None))
            if self.container is not None:
                self.container.close()
        except BaseException:
            keep = False
            raise
        finally:
            self.part.close(keep)


class RawSink:
    """RGB frames, 3 bytes a pixel, row by row, without sound: what ``ffplay -f rawvideo -pixel_format rgb24`` reads.

    Args:
        file: open for writing; a pipe unbuffered, since the end of a buffer waits for a reader who takes nothing.
        part: the file that gets its name in the end, if it is one.
    """

    def __init__(self, file: BinaryIO, part: Part | None = None) -> None:
        self.file, self.part, self.frames, self.writing = file, part, 0, False

    def write(self, picture_HWC: np.ndarray, sound_S: np.ndarray) -> None:
        """Write one frame; BrokenPipeError if the reader has gone."""
        left = np.ascontiguousarray(picture_HWC).data.cast("B")
        self.writing = True
        try:
            while left:
                left = left[self.file.write(left) :]
            self.file.flush()
        finally:
            self.writing = False
        self.frames += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: Any) -> None:
        if self.part is not None:
            self.part.close(ends_well(kind) and self.frames > 0)
        elif not self.writing:  # else a thread still waits for the reader
            self.file.close()


def ends_well(kind: type[BaseException] | None) -> bool:
    """Tell whether what was written is whole: at the end, or where somebody stopped the stream."""
    return kind is None or issubclass(kind, KeyboardInterrupt)


def open_sink(path: Path, fps: float) -> Sink:
    """Return the sink at a path: ``-`` is raw frames on standard output, a named pipe raw frames, ``.rgb`` raw frames
    in a file, ``.mp4`` a video.

    Opening a named pipe waits for its reader.

    Raises:
        ValueError: another kind of file, or no such folder.
    """
    if str(path) == STANDARD_OUTPUT:
        return RawSink(open(sys.stdout.fileno(), "wb", buffering=0, closefd=False))
    if is_pipe(path):
        return RawSink(path.open("wb", buffering=0))
    check_output(path)
    if path.suffix == ".mp4":
        return Mp4Sink(path, fps)
    part = Part(path)
    return RawSink(part.file, part)


def check_output(path: Path) -> None:
    """Raise ValueError unless ``open_sink`` can write there."""
    if str(path) == STANDARD_OUTPUT or is_pipe(path):
        return
    if path.suffix not in (".mp4", ".rgb"):
        raise ValueError(f"output {path} is no .mp4 or .rgb, no named pipe and not -; choose one of these")
    if not path.parent.is_dir():
        raise ValueError(f"folder {path.parent} does not exist; make it first")
