import fcntl
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lpm.data import from_int16, iterate_audio, read_audio, to_int16, wav_bytes
from lpm.stream import FileSource, PipeSource, open_source

SAMPLES = from_int16((np.arange(30_000) % 2_000).astype(np.int16))


def pipe(**settings):
    """A source and the end to write into."""
    reading, writing = os.pipe()
    return PipeSource(lambda: reading, **settings), writing


def raw(samples):
    return to_int16(samples).tobytes()


def eventually(what):
    for _ in range(1000):
        if what():
            return True
        time.sleep(0.01)
    return False


def test_a_file_is_given_in_pieces_and_then_ends(tmp_path):
    (tmp_path / "voice.wav").write_bytes(wav_bytes(SAMPLES))
    source = FileSource(tmp_path / "voice.wav")
    pieces = [source.take(7_000) for _ in range(6)]
    assert [len(piece) for piece in pieces] == [7_000] * 4 + [2_000, 0]
    assert source.ended()
    np.testing.assert_array_equal(np.concatenate(pieces), SAMPLES)


def test_decoding_in_pieces_equals_decoding_at_once(tmp_path):
    (tmp_path / "voice.wav").write_bytes(wav_bytes(SAMPLES, sample_rate=22_050))
    pieces = list(iterate_audio(tmp_path / "voice.wav"))
    assert len(pieces) > 3
    np.testing.assert_array_equal(np.concatenate(pieces), read_audio(tmp_path / "voice.wav"))


def test_a_file_that_is_cleared_has_ended(tmp_path):
    (tmp_path / "voice.wav").write_bytes(wav_bytes(SAMPLES))
    source = FileSource(tmp_path / "voice.wav")
    source.take(10)
    source.clear()
    assert source.ended() and not len(source.take(10))


@pytest.mark.parametrize("content", [b"", b"no sound at all", wav_bytes(np.zeros(0, np.float32))])
def test_a_file_without_sound_is_refused(tmp_path, content):
    (tmp_path / "voice.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"voice\.wav"):
        FileSource(tmp_path / "voice.wav")


def test_a_pipe_is_waited_for_and_its_end_is_the_end():
    source, writing = pipe(wait=True)

    def write():
        for at in range(0, len(raw(SAMPLES)), 3_001):  # an odd number of bytes
            os.write(writing, raw(SAMPLES)[at : at + 3_001])
        os.close(writing)

    threading.Thread(target=write).start()
    pieces = [source.take(13_000) for _ in range(3)]
    assert [len(piece) for piece in pieces] == [13_000, 13_000, 4_000]
    assert source.ended()
    np.testing.assert_array_equal(np.concatenate(pieces), SAMPLES)


def test_live_a_pipe_gives_what_is_there():
    source, writing = pipe(wait=False)
    assert len(source.take(100)) == 0 and not source.ended()
    os.write(writing, raw(SAMPLES[:500]))
    assert eventually(lambda: len(source.samples) == 500)
    np.testing.assert_array_equal(source.take(800), SAMPLES[:500])
    os.write(writing, raw(SAMPLES[500:900]))
    assert eventually(lambda: len(source.samples) == 400)
    source.clear()
    assert len(source.take(800)) == 0
    os.close(writing)
    assert eventually(source.ended)


def test_who_writes_too_far_ahead_is_held_up():
    source, writing = pipe(wait=False, limit=4_000)
    done = threading.Event()

    def write():
        for _ in range(40):
            os.write(writing, raw(np.zeros(4_000, np.float32)))
        os.close(writing)
        done.set()

    threading.Thread(target=write).start()
    source.begin()
    assert not done.wait(0.3)
    assert len(source.samples) < 4_000 + 2_049
    taken = 0
    while not source.ended():
        taken += len(source.take(4_000))
    assert taken == 160_000 and done.wait(5)


def test_a_named_pipe_is_raw_samples(tmp_path):
    os.mkfifo(tmp_path / "voice.wav")
    source = open_source(tmp_path / "voice.wav", wait=True)
    source.begin()
    with (tmp_path / "voice.wav").open("wb") as file:
        file.write(raw(SAMPLES[:1_000]))
    np.testing.assert_array_equal(source.take(5_000), SAMPLES[:1_000])


def descriptors(name):
    """How many descriptors of this process lead to a pipe."""
    return sum(link.resolve().name == name for link in Path("/proc/self/fd").iterdir())


def test_nobody_can_write_into_a_named_pipe_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "voice")
    open_source(tmp_path / "voice", wait=False)
    time.sleep(0.05)
    with pytest.raises(OSError, match="No such device"):  # what a writer that may wait waits for
        os.open(tmp_path / "voice", os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes keep their size on this system")
def test_before_the_clock_begins_a_writer_is_held_up_and_then_heard_whole(tmp_path):
    os.mkfifo(tmp_path / "voice")
    source, written = open_source(tmp_path / "voice", wait=True), []

    def write():
        with (tmp_path / "voice").open("wb", buffering=0) as file:
            assert eventually(lambda: fcntl.fcntl(file, fcntl.F_GETPIPE_SZ) < 65_536)  # our side is open, too
            for at in range(0, 30_000, 100):
                file.write(raw(SAMPLES[at : at + 100]))
                written.append(at + 100)

    thread = threading.Thread(target=write)
    source.open()
    thread.start()
    assert eventually(lambda: written)
    thread.join(0.2)
    assert written[-1] < 30_000 and source.waiting() == 0
    source.begin()
    np.testing.assert_array_equal(source.take(30_001), SAMPLES)
    thread.join()


def test_at_its_end_a_pipe_is_closed(tmp_path):
    source, writing = pipe(wait=True)
    name = f"pipe:[{os.fstat(writing).st_ino}]"
    assert descriptors(name) == 2
    os.close(writing)
    assert len(source.take(10)) == 0 and source.ended()
    assert eventually(lambda: descriptors(name) == 0)


@pytest.mark.parametrize("ahead", [0, 1_000])
def test_a_source_that_is_closed_lets_go_of_its_pipe_and_its_writer_hears_of_it(ahead):
    source, writing = pipe(wait=False, limit=1_000)
    source.begin()
    os.write(writing, raw(SAMPLES[:ahead]))
    assert eventually(lambda: source.waiting() == ahead)
    source.close()
    assert source.ended() and len(source.take(10)) == 0

    def broken():
        try:
            return not os.write(writing, raw(SAMPLES[:100]))
        except BrokenPipeError:
            return True

    assert eventually(broken)
    assert descriptors(f"pipe:[{os.fstat(writing).st_ino}]") == 1
    os.close(writing)


def test_a_writer_who_comes_after_the_end_is_not_swallowed(tmp_path):
    os.mkfifo(tmp_path / "voice")
    source = open_source(tmp_path / "voice", wait=False)
    source.begin()
    source.close()
    with pytest.raises(BrokenPipeError):
        (tmp_path / "voice").write_bytes(raw(np.tile(SAMPLES, 10)))


def test_a_file_that_is_closed_has_ended(tmp_path):
    (tmp_path / "voice.wav").write_bytes(wav_bytes(SAMPLES))
    source = FileSource(tmp_path / "voice.wav")
    source.open()
    source.begin()
    assert len(source.take(10)) == 10 and source.waiting() > 0
    source.close()
    assert source.ended()
