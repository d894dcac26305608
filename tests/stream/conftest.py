"""Tiny networks that stream, in float64, their weights nowhere at their start."""

import numpy as np
import pytest

from tiny_streaming import performer, sampler


@pytest.fixture(scope="session")
def model():
    return performer()


@pytest.fixture(scope="session")
def streamer(model):
    return sampler(model)


@pytest.fixture
def voices():
    """Two voices, 16 kHz, three seconds and a bit."""
    rng = np.random.default_rng(0)
    return [(0.1 * rng.standard_normal(50_000 + 3_000 * i)).astype(np.float32) for i in range(2)]
