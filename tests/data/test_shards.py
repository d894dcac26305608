import json
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from lpm.data import (
    Counts,
    Cut,
    Pixels,
    SchemaError,
    Shard,
    ShardWriter,
    check_media,
    decode,
    list_shards,
    read_shard,
    valid,
    write_index,
)
from lpm.data.order import epoch_order, split
from lpm.data.stages import read_places


def test_samples_survive(shards, make_sample):
    read = list(valid(read_shard(list_shards(shards)[1].path), Counts()))
    wanted = make_sample(3)
    assert [sample["__key__"] for sample in read] == ["clip003", "clip004", "clip005"]
    assert read[0]["json"] == wanted["json"] and read[0]["mp4"] == wanted["mp4"]
    np.testing.assert_array_equal(decode(read[0], "latent.npy"), wanted["latent.npy"])
    np.testing.assert_array_equal(decode(read[0], "truth.npz")["controls"], wanted["truth.npz"]["controls"])
    check_media(read[0])


@pytest.mark.parametrize("change", [{"fps": 25.0}, {"frames": 13}, {"width": 64}])
def test_a_video_that_is_not_as_told_has_a_reason(make_sample, change):
    sample = make_sample(0)
    sample["json"] |= change
    with pytest.raises(SchemaError, match="json says") as caught:
        check_media(sample)
    assert caught.value.reason == "mp4 differs"


def test_a_turned_video_has_a_reason(sample):
    at = sample["mp4"].index(b"tkhd") + 44
    half_turn = np.array([-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30], ">i4").tobytes()
    turned = {**sample, "mp4": sample["mp4"][:at] + half_turn + sample["mp4"][at + 36 :]}
    for read in (check_media, lambda sample: Cut(9, [Pixels()])(sample, np.random.default_rng(0))):
        with pytest.raises(SchemaError, match="turned by -180 degrees") as caught:
            read(turned)
        assert caught.value.reason == "turned frames"


def test_plain_webdataset_reads_them(shards):
    paths = [shard.path for shard in list_shards(shards)]
    keys = [sample["__key__"] for sample in wds.WebDataset(paths, shardshuffle=False)]
    assert keys == [f"clip{number:03d}" for number in range(13)]


def test_index_counts_and_is_optional(shards):
    listed = list_shards(shards, "train")
    assert [shard.samples for shard in listed] == [3, 3, 3, 3, 1]
    index = (shards / "index.json").read_text()
    (shards / "index.json").unlink()
    assert list_shards(shards) == listed  # counted from the tars
    write_index(shards)
    assert (shards / "index.json").read_text() == index


def test_equal_samples_give_equal_bytes(tmp_path, make_sample):
    for name in ("a", "b"):
        with ShardWriter(tmp_path / name, "train") as writer:
            writer.write(make_sample(1))
            writer.write(make_sample(2))
    sums = [list_shards(tmp_path / name)[0].sha256 for name in ("a", "b")]
    assert sums[0] == sums[1]


def test_error_leaves_no_half_shard(tmp_path, make_sample):
    def write_and_fail():
        with ShardWriter(tmp_path, "train", samples_per_shard=2) as writer:
            for number in range(3):
                writer.write(make_sample(number))
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "train-000000.tar"]


def test_writer_refuses_bad_samples(tmp_path, make_sample):
    with ShardWriter(tmp_path, "train") as writer:
        with pytest.raises(ValueError, match="no mp4"):
            writer.write({"__key__": "a", "json": {}})
        with pytest.raises(ValueError, match="dot"):
            writer.write({**make_sample(1), "__key__": "a.b"})
        writer.write(make_sample(1))
        with pytest.raises(ValueError, match="written before"):
            writer.write(make_sample(1))


def test_bad_folders_are_one_line(tmp_path, shards):
    with pytest.raises(ValueError, match="is missing"):
        list_shards(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no \*\.tar"):
        list_shards(tmp_path)
    with wds.TarWriter(str(tmp_path / "train-000000.tar")):
        pass
    with pytest.raises(ValueError, match=r"train-000000\.tar holds no samples: rebuild it"):
        list_shards(tmp_path)
    data = Path(list_shards(shards)[0].path).read_bytes()
    (tmp_path / "train-000000.tar").write_bytes(b"this is no tar file" * 100)
    with pytest.raises(ValueError, match="is corrupt"):
        list_shards(tmp_path)
    (tmp_path / "train-000000.tar").write_bytes(data)
    write_index(tmp_path)
    (tmp_path / "train-000000.tar").write_bytes(data[:2000])
    with pytest.raises(ValueError, match="2000 bytes"):
        list_shards(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"shards": [{"name": 1}]}))
    with pytest.raises(ValueError, match="no shard index"):
        list_shards(tmp_path)


@pytest.mark.parametrize("parts", [1, 2, 4, 5, 7, 13])
def test_split_is_disjoint_and_complete(parts):
    shards = [Shard(str(number), 3, 0, "") for number in range(5)]
    read = [place for part in range(parts) for place in split(shards, part, parts)]
    assert len(read) == len(set(read)) == 15
    assert min(len(split(shards, part, parts)) for part in range(parts)) > 0


def test_order_depends_on_seed_and_epoch_only():
    shards = [Shard(str(number), 7, 0, "") for number in range(9)]

    def order(seed, epoch, buffer=8):
        return epoch_order(shards, 0, 2, seed, epoch, buffer)[1]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)
    assert order(0, 0, buffer=0) == order(5, 3, buffer=0) == split(shards, 0, 2)


def test_reading_skips_what_is_not_wanted(shards, monkeypatch):
    listed = list_shards(shards)
    opened = []
    monkeypatch.setattr("lpm.data.stages.read_shard", lambda path: opened.append(path) or read_shard(path))
    reading, order = epoch_order(listed, 0, 1, seed=0, epoch=0, buffer=4)
    whole = [sample["__key__"] for sample in read_places(listed, reading, order)]
    opened.clear()
    rest = [sample["__key__"] for sample in read_places(listed, reading, order[10:])]
    assert rest == whole[10:] and sorted(whole) == [f"clip{number:03d}" for number in range(13)]
    assert len(opened) < len(listed)
