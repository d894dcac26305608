import os
import threading
import time

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
    assert not done.wait(0.3)
    assert len(source.samples) < 4_000 + 2_049
    taken = 0
    while not source.ended():
        taken += len(source.take(4_000))
    assert taken == 160_000 and done.wait(5)


def test_a_named_pipe_is_raw_samples(tmp_path):
    os.mkfifo(tmp_path / "voice.wav")
    source = open_source(tmp_path / "voice.wav", wait=True)
    with (tmp_path / "voice.wav").open("wb") as file:
        file.write(raw(SAMPLES[:1_000]))
    np.testing.assert_array_equal(source.take(5_000), SAMPLES[:1_000])
