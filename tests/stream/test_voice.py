"""A live voice that comes late, in numbered samples: sample n is captured n / 16,000 s after the clock begins."""

import numpy as np
import pytest

from lpm.stream.voice import SPARE, Voice

SECOND = 16_000


class Arriving:
    """A voice of which so much has come by the end of each second."""

    def __init__(self, counts):
        self.counts, self.taken, self.now = counts, 0, -1

    def waiting(self):
        return min(self.counts[self.now], self.counts[-1]) - self.taken

    def take(self, count):
        count = min(count, self.waiting())
        self.taken += count
        return np.arange(self.taken - count, self.taken).astype(np.float32) + 1

    def ended(self):
        return False


def heard(counts):
    """What is passed on, second by second, and how many samples are dropped before each."""
    voice = Voice("listen", source := Arriving(counts), None)
    dropped, sound = [], []
    for source.now in range(len(counts)):
        dropped.append(voice.drop_late((source.now + 1) * SECOND - voice.given))
        voice.pass_on(SECOND)
        sound.append(voice.sound(SECOND))
    return sound, dropped


LATE = [16_000, 24_000, 48_000, 64_000, 80_000]  # half a second of the second second comes in the third


def test_after_samples_that_came_late_the_lag_is_what_it_was():
    sound, dropped = heard(LATE)
    assert dropped == [0, 0, 8_000 - SPARE, 0, 0]
    assert sound[1][7_999] == 24_000 and not sound[1][8_000:].any()
    for second in (2, 3, 4):
        assert sound[second][-1] == (second + 1) * SECOND - SPARE
        assert (np.diff(sound[second]) == 1).all()


def test_samples_that_wait_because_the_chunk_is_late_are_not():
    voice = Voice("listen", source := Arriving([16_000, 24_000, 40_000, 64_000]), None)
    for source.now in range(3):
        voice.pass_on(SECOND)
    assert voice.owed == 8_000
    source.now = 3
    assert voice.drop_late(due=24_000) == 0  # the chunk that needs a second more begins half a second late
    assert voice.drop_late(due=16_000) == 24_000 - 16_000 - SPARE


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_whole_file_that_is_sent_at_once_is_heard_whole(before):
    """Also where its first piece alone is there when a chunk begins."""
    sound, dropped = heard([0] * before + [5_000] + [69_000] * 6)
    assert not any(dropped)
    played = np.concatenate(sound)
    np.testing.assert_array_equal(played[played > 0], np.arange(69_000) + 1)


def test_samples_that_are_lost_cost_no_others():
    _, dropped = heard([16_000, 24_000, 40_000, 56_000, 72_000])
    assert not any(dropped)


def test_pieces_that_come_unevenly_are_not_late():
    _, dropped = heard([SECOND * (k + 1) - 1_600 * (k % 2) for k in range(20)])
    assert not any(dropped)
