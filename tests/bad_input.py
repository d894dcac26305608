"""Bad input, and what a command says of it."""

import numpy as np


def error_line(capsys) -> str:
    """Return the one line of an error; anything else is a fault."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def float_wav(samples, rate=16000):
    """A RIFF file of format 3 (IEEE float), which the wave module cannot write."""
    data = samples.astype("<f4").tobytes()
    fmt = np.array([3, 1], "<u2").tobytes() + np.array([rate, 4 * rate], "<u4").tobytes()
    fmt += np.array([4, 32], "<u2").tobytes()
    body = b"WAVEfmt " + np.uint32(16).tobytes() + fmt + b"data" + np.uint32(len(data)).tobytes() + data
    return b"RIFF" + np.uint32(len(body)).tobytes() + body
