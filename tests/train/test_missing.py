"""Shards are made by one process or by many, each once."""

from pathlib import Path
from threading import Event, Thread

import pytest

from lpm.data import Shard
from lpm.train.missing import make_missing, row_path, share

SHARDS = [Shard(path=f"train-{number}.tar", samples=5, bytes=1, sha256="") for number in range(3)]


class Maker:
    """Notes what it makes; waits, or dies, in the first shard."""

    def __init__(self, folder: Path, waits: Event | None = None, dies: bool = False) -> None:
        self.folder, self.waits, self.dies = folder, waits, dies
        self.made: list[str] = []
        self.started = Event()

    def __call__(self, shard: Shard, count: int) -> None:
        self.made.append(shard.path)
        self.started.set()
        if self.waits and shard is SHARDS[0]:
            assert self.waits.wait(20)
        if self.dies:
            raise RuntimeError("dies")
        row_path(self.folder, shard).write_text(str(count))

    def work(self) -> None:
        make_missing(self.folder, share(SHARDS, 12), self, "shards", "samples")


def test_the_last_shard_is_cut_and_the_rest_left_alone():
    assert share(SHARDS, 12) == [(SHARDS[0], 5), (SHARDS[1], 5), (SHARDS[2], 2)]
    assert share(SHARDS, 5) == [(SHARDS[0], 5)]
    assert share(SHARDS, None) == [(shard, 5) for shard in SHARDS]


def work_together(slow: Maker, quick: Maker, finish: Event) -> None:
    """Let the slow one begin, and finish only when the quick one has nothing left but to wait for it."""
    one, two = Thread(target=slow.work), Thread(target=quick.work)
    one.start()
    assert slow.started.wait(20)
    two.start()
    while len(quick.made) < 2:
        two.join(0.01)
    assert two.is_alive() and not row_path(slow.folder, SHARDS[0]).exists()
    finish.set()
    one.join(20), two.join(20)
    assert not one.is_alive() and not two.is_alive()


def test_two_at_once_share_the_shards_and_both_wait_for_all(tmp_path):
    finish = Event()
    slow, quick = Maker(tmp_path, waits=finish), Maker(tmp_path)
    work_together(slow, quick, finish)
    assert slow.made == ["train-0.tar"] and quick.made == ["train-1.tar", "train-2.tar"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"train-{number}.row.json" for number in range(3)]
    again = Maker(tmp_path)
    again.work()
    assert not again.made


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_another_left_when_it_died_is_made_again(tmp_path):
    die = Event()
    dying, living = Maker(tmp_path, waits=die, dies=True), Maker(tmp_path)
    work_together(dying, living, die)
    assert living.made == ["train-1.tar", "train-2.tar", "train-0.tar"]
    assert [row_path(tmp_path, shard).read_text() for shard in SHARDS] == ["5", "5", "2"]
