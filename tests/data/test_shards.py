import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from bad_input import error_line
from lpm.cli import main
from lpm.data import (
    ClipDataset,
    Counts,
    Cut,
    Latents,
    Pixels,
    SchemaError,
    Shard,
    ShardWriter,
    check_media,
    decode,
    list_shards,
    pack,
    read_shard,
    valid,
    write_index,
)
from lpm.data.order import epoch_order, split
from lpm.data.puppets.verify import verify_shards
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


def test_writing_again_is_refused(tmp_path, make_sample):
    """Two shards of three in place of three of two would leave the third: two samples twice."""
    for prefix in ("train", "train-b"):  # another prefix is no hindrance
        with ShardWriter(tmp_path, prefix, samples_per_shard=2) as writer:
            for number in range(6):
                writer.write(make_sample(number))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"holds 3 shards of the prefix 'train', from train-000000\.tar on; delete"):
        ShardWriter(tmp_path, "train", samples_per_shard=3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def write_tar(path, samples):
    """A tar of one's own: the files of each sample in turn, without a look at the schema."""
    with tarfile.open(path, "w") as tar:
        for sample in samples:
            for name, data in pack(sample).items():
                if name != "__key__":
                    entry = tarfile.TarInfo(f"{sample['__key__']}.{name}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def test_a_sample_without_json_is_no_reason_to_lose_another(tmp_path, make_sample):
    samples = [make_sample(number) for number in range(3)]
    del samples[0]["json"]
    write_tar(tmp_path / "train-0.tar", samples)
    assert [shard.samples for shard in list_shards(tmp_path)] == [3]
    dataset = ClipDataset(tmp_path, Cut(9, [Latents()]), 1, buffer=0, repeat=False)
    keys = []
    for batch in dataset:
        dataset.advance(batch)
        keys += batch.keys
    assert keys == ["clip001", "clip002"] and dataset.dropped == {"no json": 1}


def test_a_file_twice_in_a_shard_names_the_shard(tmp_path, make_sample):
    write_tar(tmp_path / "train-0.tar", [make_sample(1)] * 2)
    with pytest.raises(ValueError, match=r"train-0\.tar is corrupt: clip001\..*; give each sample a key") as caught:
        list_shards(tmp_path)
    assert "(" not in str(caught.value)


def test_check_finds_samples_that_are_there_twice(tmp_path, make_sample):
    """In two shards of one prefix; validation may number its clips as training does."""
    write_tar(tmp_path / "train-0.tar", [make_sample(1), make_sample(2)])
    write_tar(tmp_path / "train-1.tar", [make_sample(3), make_sample(2)])
    write_tar(tmp_path / "val-0.tar", [make_sample(1)])
    report = verify_shards(tmp_path)
    assert [shard.faults for shard in report.shards] == [{}, {"repeated key": 1}, {}]
    assert "clip002 is in train-0.tar, too" in report.shards[1].first


def test_check_prints_messages_in_full(tmp_path, make_sample, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    sample = make_sample(0)
    sample["json"]["states"] = [[0, 17, "talking"]]
    write_tar(tmp_path / "train-0.tar", [sample])
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "state [0, 17, 'talking'] is not [start, end, one of ('speaking'," in capsys.readouterr().out


def test_check_of_half_an_index_is_one_line(tmp_path, make_sample, capsys):
    write_tar(tmp_path / "train-0.tar", [make_sample(0)])
    (tmp_path / "index.json").write_text('{"shards": [')
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "index.json is no shard index" in error_line(capsys)


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
