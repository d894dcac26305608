"""What a stage keeps, drops and repeats follows the weights, is counted, and can be written."""

import pytest

from lpm.data import Mixture, ShardWriter, Shares, list_shards, read_shard, resample, tally, tally_table, validate


def listener(number, state="listening"):
    meta = {"fps": 24.0, "frames": 48, "states": [[0, 48, state]]}
    return {"__key__": f"clip{number:04d}", "json": meta}


def test_weights_are_met_and_counted():
    samples = [listener(number, "listening" if number % 2 else "speaking") for number in range(400)]
    weights = {sample["__key__"]: 0.25 if index % 2 else 2.5 for index, sample in enumerate(samples)}
    tallies = {}
    out = list(resample(samples, weights, tallies))
    heard, spoken = tallies["listening"], tallies["speaking"]
    assert (heard.clips, spoken.clips) == (200, 200)
    assert heard.draws == pytest.approx(50, abs=15) and heard.repeated == 0 and heard.dropped == 200 - heard.draws
    assert spoken.draws == pytest.approx(500, abs=25) and spoken.dropped == 0 and spoken.most == 3
    assert len(out) == heard.draws + spoken.draws
    assert len({sample["__key__"] for sample in out}) == len(out)


def test_choice_depends_on_seed_and_key_alone():
    samples = [listener(number) for number in range(40)]
    weights = {sample["__key__"]: 0.5 for sample in samples}
    keys = [[sample["__key__"] for sample in resample(order, weights, {})] for order in (samples, samples[::-1])]
    assert sorted(keys[0]) == sorted(keys[1])
    assert [sample["__key__"] for sample in resample(samples, weights, {}, seed=1)] != keys[0]


def test_a_mixture_gives_the_weights_and_copies_can_be_written(tmp_path, make_sample):
    samples = [make_sample(number) for number in range(3)]
    for sample in samples:
        sample["json"]["key"] = sample["__key__"]
    samples[0]["json"].update(fps=4.0, states=[[0, 17, "speaking"]])
    chances = Mixture([Shares(0, speaking=2.0, idle=1.0)]).over(samples).chances(0)
    weights = {sample["__key__"]: 3 * chance for sample, chance in zip(samples, chances)}
    with ShardWriter(tmp_path, "train") as writer:
        for sample in resample(samples, weights, {}):
            validate(sample)
            writer.write(sample)
    kept = [sample["__key__"] for sample in read_shard(list_shards(tmp_path)[0].path)]
    assert kept[:2] == ["clip000", "clip000-again1"]


def test_table_has_a_row_per_label_with_all_counts():
    table = tally_table(tally(["happy", "neutral", "neutral"], [3, 1, 0]), "listeners")
    assert [list(column.cells) for column in table.columns] == [
        ["happy", "neutral"], ["1", "2"], ["3", "1"], ["0.750", "0.250"], ["1", "1"], ["0", "1"], ["2", "0"], ["3", "1"]
    ]  # fmt: skip
