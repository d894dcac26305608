import os
import threading

import numpy as np
import pytest

from lpm.data import read_audio, read_video
from lpm.stream import Mp4Sink, check_output, open_sink

PICTURES = np.stack([np.full((32, 48, 3), 4 * i, np.uint8) for i in range(50)])
SOUND = (0.3 * np.sin(np.arange(50 * 640) / 10)).astype(np.float32)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(sink, count=50):
    for i in range(count):
        sink.write(PICTURES[i], SOUND[640 * i : 640 * (i + 1)])


def test_an_mp4_holds_every_frame_at_its_place_with_its_sound(tmp_path):
    with open_sink(tmp_path / "out.mp4", 25.0) as sink:
        write(sink)
    video, fps = read_video(tmp_path / "out.mp4")
    assert fps == 25.0
    assert np.abs(video.mean(axis=(1, 2, 3)) - 4 * np.arange(50)).max() < 3
    sound = read_audio(tmp_path / "out.mp4")
    assert np.corrcoef(sound[2_000:30_000], SOUND[2_000:30_000])[0, 1] > 0.99
    assert names(tmp_path) == ["out.mp4"]


def test_an_mp4_grows_while_it_is_written(tmp_path):
    with open_sink(tmp_path / "out.mp4", 25.0) as sink:
        sizes = []
        for i in range(200):
            sink.write(np.random.default_rng(i).integers(0, 255, (32, 48, 3), dtype=np.uint8), SOUND[:640])
            sink.part.file.flush()
            sizes.append(sink.part.part.stat().st_size)
        assert sizes[60] > 0 and sizes[-1] > 2 * sizes[60]


@pytest.mark.parametrize("name", ["out.mp4", "out.rgb"])
@pytest.mark.parametrize("count", [0, 20])
@pytest.mark.parametrize("fault", [None, KeyboardInterrupt, ValueError, BrokenPipeError])
def test_a_file_is_whole_or_not_there(tmp_path, name, count, fault):
    (tmp_path / "old").touch()

    def run():
        with open_sink(tmp_path / name, 25.0) as sink:
            write(sink, count)
            if fault:
                raise fault

    if fault:
        with pytest.raises(fault):
            run()
    else:
        run()
    kept = count > 0 and fault in (None, KeyboardInterrupt)
    assert names(tmp_path) == (["old", name] if kept else ["old"])
    if kept and name == "out.mp4":
        assert len(read_video(tmp_path / name)[0]) == 20
    if kept and name == "out.rgb":
        assert (tmp_path / name).read_bytes() == PICTURES[:20].tobytes()


def test_a_failed_stream_leaves_the_old_file(tmp_path):
    (tmp_path / "out.mp4").write_text("old")

    def fail():
        with Mp4Sink(tmp_path / "out.mp4", 25.0) as sink:
            write(sink, 5)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert (tmp_path / "out.mp4").read_text() == "old"


def test_frames_go_into_a_named_pipe_until_its_reader_leaves(tmp_path):
    os.mkfifo(tmp_path / "frames")
    read = []

    def reader():
        with (tmp_path / "frames").open("rb") as file:
            read.append(file.read(PICTURES[:3].nbytes))

    thread = threading.Thread(target=reader)
    thread.start()

    def write_on():
        with open_sink(tmp_path / "frames", 25.0) as sink:
            for _ in range(1000):
                write(sink)

    with pytest.raises(BrokenPipeError):
        write_on()
    thread.join()
    assert read == [PICTURES[:3].tobytes()]


@pytest.mark.timeout(60)
def test_a_pipe_whose_reader_takes_nothing_is_left_without_waiting(tmp_path):
    """As at an interruption: the thread that writes still waits."""
    os.mkfifo(tmp_path / "frames")
    reader = os.open(tmp_path / "frames", os.O_RDONLY | os.O_NONBLOCK)
    sink, gone = open_sink(tmp_path / "frames", 25.0), []

    def write_on():
        try:
            for _ in range(1000):
                write(sink, 50)
        except BrokenPipeError as fault:
            gone.append(fault)

    thread = threading.Thread(target=write_on)
    thread.start()
    while not sink.writing or sink.frames < 10:
        thread.join(0.01)
    thread.join(0.2)
    sink.__exit__(KeyboardInterrupt, None, None)
    os.close(reader)
    thread.join()
    assert gone


@pytest.mark.parametrize("name, message", [("out.avi", r"no \.mp4"), ("none/out.mp4", "does not exist")])
def test_other_outputs_are_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        check_output(tmp_path / name)
