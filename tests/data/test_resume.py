"""Resumed equals uninterrupted; ranks and workers share the data; drops are counted."""

from itertools import islice

import pytest
import torch

from lpm.data import (
    ClipDataset,
    Cut,
    Latents,
    MemoryClips,
    Mixture,
    Pixels,
    ShardWriter,
    Shares,
    first_start,
    gather_states,
    loader,
)

CUT = Cut(frames=9, pictures=[Latents()], history=0.1)
ALL = {f"clip{number:03d}" for number in range(13)}


def streamed(shards, **options):
    return ClipDataset(shards, CUT, **{"batch_size": 2, "seed": 3, "buffer": 4, **options})


def in_memory(shards, **options):
    return MemoryClips(shards, CUT, **{"batch_size": 2, "seed": 3, **options})


RAMP = Mixture([Shares(3, speaking=1.0), Shares(12, speaking=1.0, listening=1.0)])


def in_mixture(folder, **options):
    return in_memory(folder, mixture=RAMP, **options)


def take(dataset, count, workers=0):
    """Use ``count`` batches (None: all) and say so; the loader reads ahead of that."""
    batches = []
    for batch in islice(loader(dataset, workers), count):
        dataset.advance(batch)
        batches.append(batch)
    return batches


def content(batches):
    return [(batch.keys, [row["start"] for row in batch.meta], batch.references.mask_BR.tolist()) for batch in batches]


@pytest.fixture(scope="module")
def varied(tmp_path_factory, make_sample):
    """Ten clips that speak, three that listen."""
    folder = tmp_path_factory.mktemp("varied")
    with ShardWriter(folder, "train", samples_per_shard=5) as writer:
        for number in range(13):
            sample = make_sample(number, fps=12.0)
            sample["json"]["states"] = [[0, 17, "speaking" if number < 10 else "listening"]]
            writer.write(sample)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("make", [streamed, in_memory, in_mixture])
def test_resumed_equals_uninterrupted(shards, varied, make, workers):
    """16 batches of 2 are more than two epochs of 13 samples; the stop is in the middle of one."""
    shards = varied if make is in_mixture else shards
    whole = take(make(shards), 16, workers)
    first = make(shards)
    head = take(first, 5, workers)
    second = make(shards)
    second.load_state_dict(first.state_dict())
    tail = take(second, 11, workers)
    assert content(head + tail) == content(whole)
    for resumed, plain in zip(tail, whole[5:]):
        assert torch.equal(resumed.latents_BTCYX, plain.latents_BTCYX)
        assert torch.equal(resumed.speak_BS, plain.speak_BS)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("stop, workers", [(1, 0), (6, 0), (2, 3), (6, 3)])
def test_finite_epoch_resumes_to_its_end(shards, stop, workers):
    """With three workers the last batches come from those that are not exhausted yet."""
    whole = take(streamed(shards, repeat=False), None, workers)
    first = streamed(shards, repeat=False)
    head = take(first, stop, workers)
    second = streamed(shards, repeat=False)
    second.load_state_dict(first.state_dict())
    assert content(head + take(second, None, workers)) == content(whole)


@pytest.mark.parametrize("per_shard", [3, 13])
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers_share_the_data(tmp_path, make_sample, per_shard, workers):
    """With five shards by shard, with a single one by sample."""
    with ShardWriter(tmp_path, "train", per_shard) as writer:
        for number in range(13):
            writer.write(make_sample(number))
    ranks = [take(streamed(tmp_path, repeat=False, rank=rank, world=2), None, workers) for rank in range(2)]
    keys = [key for batches in ranks for batch in batches for key in batch.keys]
    assert len(keys) == 13 and set(keys) == ALL
    assert all(ranks)


def test_memory_ranks_share_each_epoch(shards):
    ranks = [take(in_memory(shards, repeat=False, rank=rank, world=2), None) for rank in range(2)]
    keys = [key for batches in ranks for batch in batches for key in batch.keys]
    assert len(keys) == 13 and set(keys) == ALL
    assert [len(batches) for batches in ranks] == [
        len(in_memory(shards, repeat=False, rank=r, world=2)) for r in (0, 1)
    ]


@pytest.mark.parametrize("make", [streamed, in_memory, in_mixture])
def test_order_is_a_function_of_the_seed(shards, varied, make):
    shards = varied if make is in_mixture else shards
    assert content(take(make(shards), 9)) == content(take(make(shards), 9))
    assert content(take(make(shards), 9)) != content(take(make(shards, seed=4), 9))


def test_memory_does_not_depend_on_workers(shards):
    assert content(take(in_memory(shards), 9, 0)) == content(take(in_memory(shards), 9, 2))


def listening_share(batches):
    return sum(key >= "clip010" for batch in batches for key in batch.keys) / sum(len(batch.keys) for batch in batches)


def test_a_scheduled_mixture_depends_on_the_number_of_the_batch_alone(varied):
    """Not on workers, on the batches before it, or on how the same batches are split among ranks."""
    whole = take(in_mixture(varied, batch_size=4), 30)
    assert content(whole) == content(take(in_mixture(varied, batch_size=4), 30, 2))
    assert content([in_mixture(varied, batch_size=4).draw(20)]) == content([whole[20]])
    ranks = [take(in_mixture(varied, rank=rank, world=2), 30) for rank in range(2)]
    assert [a.keys + b.keys for a, b in zip(*ranks)] == [batch.keys for batch in whole]
    assert listening_share(whole[:4]) == 0
    assert 0.1 < listening_share(whole[4:12]) < 0.4
    assert listening_share(whole[12:]) == pytest.approx(0.5, abs=0.1)


def test_draws_are_counted_before_they_are_made(varied):
    clips = in_mixture(varied, batch_size=4)
    keys = [key for batch in take(clips, 30) for key in batch.keys]
    assert clips.count(30).tolist() == [keys.count(f"clip{number:03d}") for number in range(13)]


def test_repeats_of_a_clip_are_other_windows(varied):
    batches = take(in_mixture(varied), 40)
    starts = {batch.meta[row]["start"] for batch in batches for row, key in enumerate(batch.keys) if key == "clip011"}
    assert len(starts) > 1


@pytest.mark.parametrize("make", [streamed, in_memory])
def test_epochs_differ_and_each_is_complete(shards, make):
    dataset = make(shards, batch_size=13)
    epochs = take(dataset, 2)
    assert set(epochs[0].keys) == set(epochs[1].keys) == ALL
    assert epochs[0].keys != epochs[1].keys


def test_validation_order_is_that_on_disk(shards):
    cut = Cut(frames=9, pictures=[Latents()], start=first_start)
    wanted = sorted(ALL)
    for dataset in (
        ClipDataset(shards, cut, 2, buffer=0, repeat=False),
        MemoryClips(shards, cut, 2, shuffle=False, repeat=False),
    ):
        for _ in range(2):  # nobody advances it: each pass is a whole one
            assert [key for batch in loader(dataset) for key in batch.keys] == wanted


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, make_sample):
    """Ten samples: one corrupt mp4, one too short, one of a strange schema version."""
    folder = tmp_path_factory.mktemp("damaged")
    samples = [make_sample(number) for number in range(10)]
    samples[2]["mp4"] = b"\x00" * 500
    samples[5] = make_sample(5, frames=5)
    samples[5]["json"]["states"] = [[0, 5, "idle"]]
    with ShardWriter(folder, "train", samples_per_shard=4) as writer:
        for sample in samples:
            writer.write(sample)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_are_skipped_and_counted(damaged, workers, caplog):
    dataset = ClipDataset(damaged, Cut(frames=9, pictures=[Pixels()]), 4, repeat=False, buffer=2)
    keys = [key for batch in take(dataset, None, workers) for key in batch.keys]
    assert len(keys) == 8 and not {"clip002", "clip005"} & set(keys)
    assert dataset.dropped == {"corrupt mp4": 1, "short": 1}
    if workers == 0:
        assert "clip002" in caplog.text and "mp4" in caplog.text


def test_memory_counts_drops_and_reads_no_video_without_need(damaged):
    dataset = MemoryClips(damaged, CUT, 2)
    assert dataset.dropped == {"short": 1} and len(dataset.samples) == 9
    assert not any("mp4" in sample for sample in dataset.samples)
    assert MemoryClips(damaged, Cut(frames=9, pictures=[Pixels()]), 2).dropped == {"corrupt mp4": 1, "short": 1}


def test_pairs_are_read_as_pixels_too(tmp_path, make_sample):
    """Both performances are mp4s; neither is decoded while loading."""
    with ShardWriter(tmp_path, "train") as writer:
        writer.write({**make_sample(0), "loser.mp4": make_sample(1)["mp4"]})
    pairs = MemoryClips(tmp_path, Cut(frames=9, pictures=[Pixels()]), 1)
    assert not pairs.dropped and pairs.draw(0).video_BTCHW.shape[1] == 9


@pytest.mark.parametrize("workers, stops", [(0, range(1, 8)), (2, [3])])
def test_resume_counts_drops_once(damaged, workers, stops):
    """A drop between the last batch used and the stop is met again after resuming, and counted then."""
    cut = Cut(frames=9, pictures=[Pixels()])
    whole = ClipDataset(damaged, cut, 1, buffer=2)
    keys = [batch.keys for batch in take(whole, 16, workers)]
    for stop in stops:
        first = ClipDataset(damaged, cut, 1, buffer=2)
        head = [batch.keys for batch in take(first, stop, workers)]
        second = ClipDataset(damaged, cut, 1, buffer=2)
        second.load_state_dict(first.state_dict())
        assert head + [batch.keys for batch in take(second, 16 - stop, workers)] == keys
        assert second.dropped == whole.dropped


@pytest.fixture(scope="module")
def half_damaged(tmp_path_factory, make_sample):
    """Twelve samples: two good, two bad, two good, all others bad, so that either of two loader workers finds both."""
    folder = tmp_path_factory.mktemp("half")
    with ShardWriter(folder, "train") as writer:
        for number in range(12):
            bad = {} if number in (0, 1, 4, 5) else {"latent.npy": torch.zeros(1, 2, 4, 4).numpy()}
            writer.write({**make_sample(number), **bad})
    return folder


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [2, 3])
def test_drops_after_the_last_batch_are_counted(half_damaged, workers, batch_size):
    """Whether the last batch is full, and its clips long gone, or not; also when the run was resumed before it."""

    def dataset():
        return ClipDataset(half_damaged, CUT, batch_size, buffer=0, repeat=False)

    whole, first, second = dataset(), dataset(), dataset()
    take(whole, None, workers)
    assert whole.dropped == {"latents": 8}
    take(first, 1, workers)
    second.load_state_dict(first.state_dict())
    take(second, None, workers)
    assert second.dropped == {"latents": 8}


def test_the_first_of_each_reason_is_logged_once(half_damaged, caplog):
    """Not once per batch."""
    dataset = ClipDataset(half_damaged, CUT, 1, buffer=0, repeat=False)
    assert len(take(dataset, None)) == 4 and dataset.dropped == {"latents": 8}
    assert [record.message.partition(":")[0] for record in caplog.records] == ["dropped (latents)"]


def test_nothing_usable_is_an_error_not_a_hang(damaged):
    long = Cut(frames=401, pictures=[Latents()])
    with pytest.raises(ValueError, match="10 short"):
        next(iter(loader(ClipDataset(damaged, long, 2))))
    with pytest.raises(ValueError, match="10 short"):
        MemoryClips(damaged, long, 2)
    with pytest.raises(ValueError, match="cannot feed 40 readers"):
        next(iter(loader(ClipDataset(damaged, CUT, 2, rank=30, world=40))))


def test_state_that_does_not_fit_is_refused(shards, damaged):
    dataset = streamed(shards)
    take(dataset, 3, 2)
    state = dataset.state_dict()
    for other, word in [
        (streamed(shards, seed=9), "seed 3"),
        (streamed(shards, batch_size=5), "batch_size 2"),
        (streamed(damaged), "samples 13"),
        (streamed(shards, rank=0, world=2), "world 1"),
        (streamed(shards, rank=1, world=2), "this is rank 1"),
    ]:
        with pytest.raises(ValueError, match=word):
            other.load_state_dict(state)
    same = streamed(shards)
    same.load_state_dict(state)
    with pytest.raises(ValueError, match="saved with 2 loader workers"):
        loader(same, 0)
    with pytest.raises(ValueError, match="seed 3"):
        in_memory(shards, seed=9).load_state_dict(in_memory(shards).state_dict())
    with pytest.raises(ValueError, match=r"mixture None, now it is Mixture"):
        in_memory(shards, mixture=Mixture([Shares(0, idle=1.0)])).load_state_dict(in_memory(shards).state_dict())
    before_mixtures = {name: value for name, value in in_memory(shards).state_dict().items() if name != "mixture"}
    in_memory(shards).load_state_dict(before_mixtures)
    assert gather_states(state) == state


def test_state_survives_a_checkpoint(shards, tmp_path):
    first = streamed(shards)
    take(first, 3)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = streamed(shards)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert content(take(second, 3)) == content(take(first, 3))


@pytest.mark.parametrize("make", [streamed, in_memory])
def test_bad_arguments(shards, make):
    with pytest.raises(ValueError, match="batch_size 0"):
        make(shards, batch_size=0)
    with pytest.raises(ValueError, match="rank 2"):
        make(shards, rank=2, world=2)
