import io
import wave

import numpy as np
import pytest

from bad_input import float_wav
from lpm.data import encode_video, read_audio, wav_bytes


def tone(rate, seconds=1.0, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def stereo_wav(left, right, rate):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(np.stack([left, right], 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def test_own_wav_is_exact():
    samples = tone(16000, 0.777)
    np.testing.assert_allclose(read_audio(wav_bytes(samples)), samples, atol=1 / 65535)


def test_fast_path_equals_ffmpeg(tmp_path):
    """Bytes take the short way through the wave module, a path the way through FFmpeg."""
    (tmp_path / "a.wav").write_bytes(wav_bytes(tone(16000)))
    np.testing.assert_array_equal(read_audio(wav_bytes(tone(16000))), read_audio(tmp_path / "a.wav"))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_any_rate(rate):
    read = read_audio(wav_bytes(tone(rate), rate))
    assert abs(len(read) - 16000) <= 2 and read.dtype == np.float32
    middle = slice(2000, 14000)
    assert np.corrcoef(read[middle], tone(16000)[middle])[0, 1] > 0.999


def test_stereo_is_the_mean():
    left, right = tone(16000), np.zeros(16000, np.float32)
    np.testing.assert_allclose(read_audio(stereo_wav(left, right, 16000)), left / 2, atol=1e-3)
    assert np.abs(read_audio(stereo_wav(left, -left, 48000))).max() < 1e-3


def test_odd_length():
    assert len(read_audio(wav_bytes(tone(16000)[:7777]))) == 7777
    assert len(read_audio(wav_bytes(np.array([0.5], np.float32)))) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value):
    samples = tone(16000)
    samples[5] = value
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        wav_bytes(samples)
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_audio(float_wav(samples))


def test_empty_silent_and_corrupt(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        read_audio(wav_bytes(np.zeros(0, np.float32)))
    with pytest.raises(ValueError, match="no audio stream"):
        read_audio(encode_video(np.zeros((3, 16, 16, 3), np.uint8), 24.0))
    (tmp_path / "broken.wav").write_bytes(b"RIFF but no more")
    with pytest.raises(ValueError, match=r"broken\.wav"):
        read_audio(tmp_path / "broken.wav")
    with pytest.raises(ValueError, match="missing"):
        read_audio(tmp_path / "none.wav")
