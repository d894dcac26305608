"""H.264 in mp4, in and out, exact to the frame."""

from __future__ import annotations

import io
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from lpm.data.schema import SchemaError
from lpm.types import SAMPLE_RATE

BT601 = 5  # the matrix swscale uses for RGB -> YUV; tagged in the file so that players use the same one
# x264's AVX-512 code reads memory it never wrote, so equal frames do not always give equal bytes; SSE4.2 code does not.
EXACT = {"x264-params": "asm=sse4.2"} if platform.machine().lower() in ("x86_64", "amd64") else {}


def read_video(source: Path | str | bytes, start: int = 0, count: int | None = None) -> tuple[np.ndarray, float]:
    """Decode ``count`` frames from frame ``start`` on (all by default): exactly those of the whole decode.

    Only the group of pictures that holds the window is decoded; packets before it are listed, not decoded. Frame i is
    the one shown i / fps seconds after the first, so a file in which it is not is refused.

    Returns:
        RGB uint8 (T, H, W, 3) and frames a second.

    Raises:
        ValueError: if the file is missing, corrupt, without pictures, or shorter than the window.
        SchemaError: if frames are shown more than half a frame from even times, or turned; the message says how to
            encode the file again.
    """
    times, fps = _list_frames(source)
    count = len(times) - start if count is None else count
    if start < 0 or count < 1 or start + count > len(times):
        raise ValueError(
            f"{name_of(source)} holds {len(times)} frames, frames {start} to {start + count} were asked for; "
            "ask for a window inside the clip"
        )
    wanted = times[start : start + count]
    frames = _decode_at(source, wanted, seek=start > 0)
    if len(frames) < count and start > 0:  # some containers (MPEG-TS) seek too far
        frames = _decode_at(source, wanted, seek=False)
    if len(frames) < count:
        raise ValueError(f"{name_of(source)} is corrupt: {len(frames)} of {count} frames decode; export it again")
    return np.stack(frames), fps


def write_video(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: float,
    audio: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
    crf: int = 18,
) -> None:
    """Write an mp4 (H.264 yuv420p, a key frame each second, AAC sound): the whole file or none.

    Args:
        path: target; replaced only when the new file is complete.
        frames: RGB uint8 (T, H, W, 3), or any iterable of (H, W, 3); height and width even.
        fps: frames a second, also 23.976.
        audio: (S,) float in [-1, 1]; sample 0 sounds with frame 0.
        crf: quality; 18 is visually lossless, larger is smaller and worse.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            _encode(file, frames, fps, audio, sample_rate, crf)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def encode_video(
    frames: Iterable[np.ndarray],
    fps: float,
    audio: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
    crf: int = 18,
) -> bytes:
    """Return the bytes of the mp4 that ``write_video`` would write.

    >>> clip = np.zeros((5, 16, 16, 3), np.uint8)
    >>> read_video(encode_video(clip, 24.0))[0].shape
    (5, 16, 16, 3)
    """
    buffer = io.BytesIO()
    _encode(buffer, frames, fps, audio, sample_rate, crf)
    return buffer.getvalue()


@contextmanager
def open_media(source: Path | str | bytes) -> Iterator[Any]:
    """Open a media file or its bytes; every FFmpeg error becomes one ValueError that names the file."""
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise ValueError(f"{source} is missing; check the path")
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
            yield container
    except (av.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{name_of(source)} is corrupt or no media file: {reason}; export it again") from error


def name_of(source: Path | str | bytes) -> str:
    """Return how an error calls this source."""
    return f"media of {len(source)} bytes" if isinstance(source, bytes) else str(source)


def _list_frames(source: Path | str | bytes) -> tuple[list[int], float]:
    """Return the times of all frames in showing order, from the packets alone, and the frames a second."""
    with open_media(source) as container:
        if not container.streams.video:
            raise ValueError(f"{name_of(source)} has no video stream; give a file that holds pictures")
        stream = container.streams.video[0]
        packets = container.demux(stream)
        times = sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)
        if not times:
            raise ValueError(f"{name_of(source)} is empty: it holds no video frame; record or export it again")
        fps = float(stream.average_rate or stream.guessed_rate)
        _check_even(np.array(times) * float(stream.time_base), fps, name_of(source))
        return times, fps


def _check_even(seconds_T: np.ndarray, fps: float, name: str) -> None:
    shown = seconds_T - seconds_T[0]
    stray = np.abs(shown * fps - np.arange(len(shown)))
    worst = int(stray.argmax())
    if stray[worst] > 0.5:  # containers round times, by far less
        raise SchemaError(
            "uneven frame times",
            f"{name} shows frame {worst} at {shown[worst]:.3f} s, more than half a frame from the {worst / fps:.3f} s "
            f"of an even {fps:.5g} a second; encode it evenly: ffmpeg -i in.mp4 -vf fps={max(1, round(fps))} out.mp4",
        )


def _decode_at(source: Path | str | bytes, times: list[int], seek: bool) -> list[np.ndarray]:
    """Decode the frames shown at ``times``; a frame that was lost is missing, never replaced by the next one."""
    wanted, frames = set(times), []
    with open_media(source) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # loaders run one process per core already
        if seek:
            container.seek(times[0], stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.rotation:
                raise SchemaError(
                    "turned frames",
                    f"{name_of(source)} is to be shown turned by {frame.rotation} degrees, 0 is wanted; "
                    "store the frames as shown: ffmpeg -i in.mp4 out.mp4",
                )
            if frame.pts in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == len(times):
                break
    return frames


def _encode(
    file: BinaryIO, frames: Iterable[np.ndarray], fps: float, audio: np.ndarray | None, sample_rate: int, crf: int
) -> None:
    if not fps > 0:
        raise ValueError(f"fps {fps} is not above 0; give the frames a second of the clip")
    rate = Fraction(fps).limit_denominator(1001)
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("a video of 0 frames cannot be written; give at least one frame")
    _check_frame(first, first.shape)
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream(
            "libx264", rate=rate, options={"crf": str(crf), "g": str(max(1, int(rate))), **EXACT}
        )
        video.height, video.width, video.pix_fmt = first.shape[0], first.shape[1], "yuv420p"
        video.codec_context.colorspace = BT601
        video.codec_context.thread_count = 1  # another count gives other bytes
        sound = None if audio is None else container.add_stream("aac", rate=sample_rate, layout="mono")
        _mux_pictures(container, video, first, pictures, rate)
        if sound is not None:
            _mux_sound(container, sound, np.asarray(audio), sample_rate)


def _mux_pictures(container: Any, stream: Any, first: np.ndarray, rest: Iterator[np.ndarray], rate: Fraction) -> None:
    for index, picture in enumerate(chain([first], rest)):
        _check_frame(picture, first.shape)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = index, 1 / rate
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _mux_sound(container: Any, stream: Any, samples: np.ndarray, sample_rate: int) -> None:
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"audio of shape {samples.shape} must be one channel (S,) without NaN; mix and clean it")
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32).clip(-1, 1)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = sample_rate, 0
    if len(samples):
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _check_frame(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != shape or shape[2] != 3:
        raise ValueError(f"frame {frame.dtype} {frame.shape} must be uint8 (H, W, 3), equal in a clip; convert it")
    if shape[0] % 2 or shape[1] % 2:
        raise ValueError(f"frame of {shape[1]} x {shape[0]} has an odd side, H.264 needs even ones; crop or pad it")
