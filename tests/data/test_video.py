import hashlib
import io
from fractions import Fraction

import av
import numpy as np
import pytest

from lpm.data import SchemaError, encode_video, read_audio, read_video, write_video
from lpm.data.video import open_media


def moving(frames=50, side=48):
    video = np.zeros((frames, side, side, 3), np.uint8)
    for index in range(frames):
        video[index, :, index % side] = (255, 128, 3 * index)
    return video


@pytest.fixture(scope="module")
def clip():
    return encode_video(moving(), 24.0)


def test_pictures_survive(clip):
    frames, fps = read_video(clip)
    assert frames.shape == (50, 48, 48, 3) and frames.dtype == np.uint8 and fps == 24.0
    gray = np.full((9, 64, 64, 3), (200, 120, 40), np.uint8)
    assert np.abs(read_video(encode_video(gray, 25.0))[0].astype(int) - gray).max() <= 4


@pytest.mark.parametrize("start", [0, 1, 23, 24, 25, 37])
def test_window_is_a_slice_of_the_whole(clip, start):
    whole, _ = read_video(clip)
    np.testing.assert_array_equal(read_video(clip, start, 13)[0], whole[start : start + 13])


@pytest.mark.parametrize("kind", ["mkv", "ts", "avi"])
def test_window_in_other_containers(tmp_path, kind):
    """MPEG-TS seeks beyond its first key frame; the window must be right all the same."""
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if kind == "avi" else "libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        for picture in moving(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    whole, _ = read_video(path)
    assert len(whole) == 30
    for start in (1, 9, 10, 21):
        np.testing.assert_array_equal(read_video(path, start, 9)[0], whole[start : start + 9])


@pytest.mark.parametrize("fps", [23.976, 24000 / 1001, 25.0, 29.97, 30.0])
def test_any_frame_rate(fps):
    frames, rate = read_video(encode_video(moving(7), fps))
    assert len(frames) == 7 and rate == pytest.approx(fps, abs=1e-3)


def shown_at(times):
    """An mp4 with a frame at each of these milliseconds."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, picture in zip(times, moving(len(times))):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_uneven_frame_times_are_refused_and_rounded_ones_are_not():
    """Sound is cut by the frame's number: in a clip whose second half is slower it would be off by 0.4 s."""
    with pytest.raises(SchemaError, match=r"ffmpeg -i in\.mp4 -vf fps=14 out\.mp4") as caught:
        read_video(shown_at([*range(0, 480, 40), *range(480, 1940, 120)]), 0, 5)
    assert caught.value.reason == "uneven frame times" and "\n" not in str(caught.value)
    frames, fps = read_video(shown_at([round(number * 1000 / 30) for number in range(60)]))
    assert len(frames) == 60 and fps == pytest.approx(30, abs=0.01)


def with_matrix(mp4, *matrix):
    """The same mp4, to be shown through the rows (a, b), (c, d)."""
    at = mp4.index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    return mp4[:at] + np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes() + mp4[at + 36 :]


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_turned_frames_are_refused(clip, matrix):
    assert with_matrix(clip, 1, 0, 0, 1) == clip
    for start in (0, 30):
        with pytest.raises(SchemaError, match=r"ffmpeg -i in\.mp4 out\.mp4") as caught:
            read_video(with_matrix(clip, *matrix), start, 5)
        assert caught.value.reason == "turned frames" and "\n" not in str(caught.value)


def test_single_frame():
    assert read_video(encode_video(moving(1), 24.0))[0].shape[0] == 1


def test_equal_frames_give_equal_bytes():
    noise = np.random.default_rng(0).integers(0, 255, (24, 48, 48, 3), dtype=np.uint8)
    assert len({hashlib.md5(encode_video(noise, 24.0)).hexdigest() for _ in range(6)}) == 1


@pytest.mark.parametrize("fps", [23.976, 24.0])
def test_click_and_flash_stay_together(tmp_path, fps):
    """A click and a white frame at the same moment are found at the same moment after coding."""
    frames = np.zeros((48, 32, 32, 3), np.uint8)
    frames[24] = 255
    sound = np.zeros(32000, np.float32)
    moment = round(24 / fps * 16000)
    sound[moment : moment + 8] = 1.0
    write_video(tmp_path / "a.mp4", frames, fps, sound)
    flash = int(read_video(tmp_path / "a.mp4")[0].mean((1, 2, 3)).argmax())
    click = int(np.abs(read_audio(tmp_path / "a.mp4")).argmax()) / 16000
    assert flash == 24
    assert abs(click - flash / fps) < 0.5 / fps
    with open_media(tmp_path / "a.mp4") as container:  # players that know nothing of our reader agree
        assert container.streams.audio[0].start_time == 0


def test_key_frame_each_second(clip, tmp_path):
    (tmp_path / "a.mp4").write_bytes(clip)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [packet.pts for packet in container.demux(video=0) if packet.is_keyframe]
    assert len(keys) >= 3


@pytest.mark.parametrize(
    "frames, fps, word",
    [
        (np.zeros((0, 16, 16, 3), np.uint8), 24.0, "0 frames"),
        (np.zeros((3, 15, 16, 3), np.uint8), 24.0, "odd"),
        (np.zeros((3, 16, 16, 3), np.float32), 24.0, "uint8"),
        (np.zeros((3, 16, 16, 3), np.uint8), 0.0, "fps"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((18, 16, 3), np.uint8)], 24.0, "equal"),
    ],
)
def test_bad_frames_leave_nothing(tmp_path, frames, fps, word):
    with pytest.raises(ValueError, match=word):
        write_video(tmp_path / "a.mp4", frames, fps)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_file(tmp_path):
    write_video(tmp_path / "a.mp4", moving(3), 24.0)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(ValueError, match="NaN"):
        write_video(tmp_path / "a.mp4", moving(3), 24.0, np.array([0.0, np.nan], np.float32))
    assert (tmp_path / "a.mp4").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[: len(d) // 2], lambda d: b"no mp4 at all" * 99])
def test_corrupt_names_the_file(tmp_path, clip, damage):
    path = tmp_path / "broken.mp4"
    path.write_bytes(damage(clip))
    with pytest.raises(ValueError, match=r"broken\.mp4 is corrupt") as caught:
        read_video(path)
    assert "\n" not in str(caught.value)


def test_window_outside_and_missing_file(clip, tmp_path):
    with pytest.raises(ValueError, match="holds 50 frames"):
        read_video(clip, 45, 6)
    with pytest.raises(ValueError, match="missing"):
        read_video(tmp_path / "none.mp4")
