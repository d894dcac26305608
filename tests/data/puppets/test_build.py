"""The corpus builder, on a corpus of four characters and two-second clips."""

import io
import json
import re
import shutil
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpm.data.audio import read_audio
from lpm.data.puppets.build import build_corpus, claim
from lpm.data.puppets.command import check
from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.perform import perform
from lpm.data.puppets.plan import SPLITS, CorpusSpec, deal, plan_corpus, split_casts
from lpm.data.video import read_video

SPEC = CorpusSpec(
    identities=2, val_identities=1, test_identities=1, clips_per_identity=2, val_clips_per_identity=1, seen_clips=1,
    seconds=2.0, size=48, clips_per_shard=4, kinds={"speak": 1.0}, raw_videos=1, raw_seconds=16.0, raw_height=48,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(tmp_path_factory.mktemp("corpus"), SPEC, workers=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for part in ("shards", "raw") for path in sorted((folder / part).iterdir())}


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for shard in sorted((folder / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = member.name.split(".", 1)
                found.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return found


def test_an_interrupted_build_is_finished_with_the_same_bytes_by_any_number_of_workers(corpus, tmp_path):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    shard, raw = folder / "shards" / "train-0000.tar", folder / "raw" / "raw-0000.mp4"
    shard.rename(shard.with_name(".train-0000.tar.part"))
    raw.unlink()
    times = {path: path.stat().st_mtime_ns for path in (folder / "shards").glob("*.tar")}
    build_corpus(folder, SPEC, workers=1)
    assert contents(folder) == contents(corpus)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_another_seed_is_another_corpus():
    assert plan_corpus(SPEC) != plan_corpus(replace(SPEC, seed=1))
    assert set(split_casts(SPEC)["train"]).isdisjoint(split_casts(replace(SPEC, seed=1))["train"])


def test_another_spec_in_the_same_folder_is_refused(corpus):
    with pytest.raises(ValueError, match=r"\(seed 0 instead of 1\); choose another folder"):
        build_corpus(corpus, replace(SPEC, seed=1))


@pytest.mark.parametrize("name", ["shards/train-0000.tar", "raw/raw-0000.mp4"])
def test_files_of_ones_own_are_refused_and_kept(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"but no corpus\.json, so it is no corpus; choose another folder"):
        build_corpus(tmp_path, SPEC)
    assert path.read_bytes() == b"mine" and not (tmp_path / "corpus.json").exists()


def test_of_two_first_builds_at_once_one_gets_the_folder(tmp_path, monkeypatch):
    """The second comes while the first is about to write what it builds."""
    second = []

    def replace_late(part, path):
        if not second:
            second.append(pool.submit(claim, tmp_path, replace(SPEC, seed=1)))
            wait(second, timeout=0.5)
        part.rename(path)

    monkeypatch.setattr("lpm.data.puppets.build.os.replace", replace_late)
    with ThreadPoolExecutor() as pool:
        claim(tmp_path, SPEC)
        with pytest.raises(ValueError, match="seed 0 instead of 1"):
            second[0].result()
    assert json.loads((tmp_path / "corpus.json").read_text())["spec"]["seed"] == 0


def test_splits_share_no_identity_and_seen_repeats_train(corpus):
    cast = {split: set() for split in ("train", "seen", "val", "test")}
    for files in samples(corpus).values():
        meta = json.loads(files["json"])
        cast[meta["split"]].add(meta["identity"])
    assert cast["seen"] <= cast["train"]
    assert not cast["train"] & cast["val"] and not cast["train"] & cast["test"] and not cast["val"] & cast["test"]


def test_held_out_splits_say_other_sentences(corpus):
    said = {"train": set(), "seen": set(), "val": set(), "test": set()}
    for files in samples(corpus).values():
        meta = json.loads(files["json"])
        spoken = [talk for talk in meta["tags"]["transcript"] if talk["kind"] != "backchannel"]
        said[meta["split"]] |= {talk["text"] for talk in spoken}
    assert said["train"] and said["seen"] and said["val"]
    assert said["train"].isdisjoint(said["seen"] | said["val"])


def test_clips_have_references_of_all_three_kinds(corpus):
    kinds = []
    for files in samples(corpus).values():
        rows = json.loads(files["json"])["references"]
        kinds.append({row["kind"] for row in rows})
        assert rows[0]["kind"] == "global"
        assert all(Image.open(io.BytesIO(files[row["file"]])).size == (SPEC.size, SPEC.size) for row in rows)
    assert set.union(*kinds) == {"global", "body", "expression"} and {"global"} in kinds


def test_the_card_counts_what_is_in_the_shards(corpus):
    card = json.loads((corpus / "card.json").read_text())
    clips = [json.loads(files["json"]) for files in samples(corpus).values()]
    assert list(card["splits"]) == list(SPLITS)
    for split, told in [("", card["total"]), *card["splits"].items()]:
        found = [clip for clip in clips if clip["split"] == split or not split]
        assert told["clips"] == len(found) > 0 and told["frames"] == len(found) * SPEC.frames
        assert told["identities"] == len({clip["identity"] for clip in found})
        assert told["emotions"] == Counter(clip["tags"]["emotion"] for clip in found)
        assert told["references"] == Counter(row["kind"] for clip in found for row in clip["references"])
        speaking = sum(last - first for clip in found for first, last, state in clip["states"] if state == "speaking")
        assert told["state_shares"]["speaking"] == pytest.approx(speaking / told["frames"], abs=1e-4)


def test_the_card_has_a_column_for_every_split_and_pictures(corpus):
    text = (corpus / "card.md").read_text()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert table[0] == ["", "all", *SPLITS]
    assert ["clips", "7", "4", "1", "1", "1"] in table
    pictures = re.findall(r"!\[\w+\]\((.+)\)", text)
    assert pictures == ["card/statistics.png", "card/characters.png"]
    assert all(np.asarray(Image.open(corpus / name).convert("RGB")).std() > 20 for name in pictures)


def test_any_size_and_frame_rate_passes_the_check(tmp_path):
    spec = CorpusSpec(
        identities=1, val_identities=1, test_identities=1, clips_per_identity=1, val_clips_per_identity=1, seen_clips=1,
        seconds=1.2, size=64, fps=29.97,
    )  # fmt: skip
    folder = build_corpus(tmp_path, spec, workers=2)
    video_THWC, fps = read_video(samples(folder)["val-000000"]["mp4"])
    assert video_THWC.shape == (33, 64, 64, 3) and fps == pytest.approx(29.97, abs=1e-3)
    assert check(folder) == 0


def test_video_shows_the_truth_frame_by_frame(corpus):
    files = samples(corpus)["train-000000"]
    meta, truth = json.loads(files["json"]), np.load(io.BytesIO(files["truth.npz"]))
    video_THWC, fps = read_video(files["mp4"])
    assert len(video_THWC) == meta["frames"] == len(truth["controls"]) == SPEC.frames and fps == SPEC.fps
    puppet = Puppet(sample_identity(meta["tags"]["identity_seed"]), size=SPEC.size, style="clean", framing=SPEC.framing)
    drawn_THWC = puppet.render(truth["controls"]).astype(float)
    errors = [np.abs(drawn_THWC[2:-2] - np.roll(video_THWC, shift, axis=0)[2:-2]).mean() for shift in (-1, 0, 1)]
    assert np.argmin(errors) == 1


def test_mouth_follows_the_voice_to_one_frame(corpus):
    """The mouth leads its sound by a known coarticulation lead; beyond that, at most one frame."""
    lags = []
    for files in samples(corpus).values():
        controls = np.load(io.BytesIO(files["truth.npz"]))["controls"]
        voice = read_audio(files["speak.wav"])
        assert len(voice) == round(len(controls) / SPEC.fps * 16_000)
        loudness = np.array([np.sqrt(np.mean(part**2)) for part in np.array_split(voice, len(controls))])
        aperture = controls[6:-6, COLUMN["aperture"]]
        score = [np.corrcoef(np.roll(loudness, shift)[6:-6], aperture)[0, 1] for shift in range(-5, 6)]
        assert max(score) > 0.3
        lags.append(int(np.argmax(score)) - 5)
    assert abs(np.median(lags)) <= 1


def test_check_finds_nothing_wrong_then_a_flipped_byte(corpus, capsys):
    assert check(corpus) == 0
    shard = corpus / "shards" / "test-0000.tar"
    good = shard.read_bytes()
    shard.write_bytes(good[:5000] + bytes([good[5000] ^ 255]) + good[5001:])
    try:
        assert check(corpus) == 1
    finally:
        shard.write_bytes(good)


def test_raw_video_has_sound_and_ground_truth(corpus):
    (path,) = (corpus / "raw").glob("*.mp4")
    truth = json.loads(path.with_suffix(".json").read_text())
    video_THWC, _ = read_video(path)
    assert video_THWC.shape[:3] == (truth["frames"], truth["height"], truth["width"])
    assert abs(len(read_audio(path)) / 16_000 - truth["frames"] / truth["fps"]) < 0.1
    change = np.abs(np.diff(video_THWC.astype(float), axis=0)).mean((1, 2, 3))
    cuts = [shot["start"] for shot in truth["shots"][1:]]
    assert cuts and min(change[cut - 1] for cut in cuts) > 3 * np.median(change)


def test_raw_sound_holds_both_voices_and_silence_between_them(corpus):
    (path,) = (corpus / "raw").glob("*.mp4")
    sound = read_audio(path)
    talking, near = np.zeros((2, len(sound)), bool), np.zeros(len(sound), bool)
    for said in json.loads(path.with_suffix(".json").read_text())["transcript"]:
        talking[said["person"], round(said["t0"] * 16_000) : round(said["t1"] * 16_000)] = True
        near[max(0, round((said["t0"] - 0.1) * 16_000)) : round((said["t1"] + 0.1) * 16_000)] = True
    alone = talking & ~talking[::-1]
    assert alone.any(axis=1).all() and not near.all()
    first, second, nobody = (sound[where].std() for where in (*alone, ~near))
    assert min(first, second) > 0.03 and nobody < 0.05 * min(first, second)


def test_shares_are_met_exactly():
    dealt = deal({"speak": 0.6, "listen": 0.2, "conversation": 0.15, "idle": 0.05}, 100, seed=3)
    assert [dealt.count(name) for name in ("speak", "listen", "conversation", "idle")] == [60, 20, 15, 5]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seconds": 0.5}, "seconds is 0.5, but a corpus needs at least 1"),
        ({"seconds": 1.0}, "only 21 whole frames at 24.0 fps; raise seconds to 1.042"),
        ({"identities": 0}, "identities is 0"),
        ({"size": 97}, "use 98"),
        ({"motion": 2.5}, "motion is 2.5, but a corpus takes at most 2; lower motion"),
        ({"fps": 144.0}, "fps is 144.0, but a corpus takes at most 120; lower fps"),
        ({"motion": float("nan")}, "motion is nan"),
        ({"kinds": {"shout": 1.0}}, "'shout', which is unknown"),
        ({"styles": {"clean": 0.0}}, "no share above 0"),
    ],
)
def test_wrong_numbers_give_one_clear_line(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        CorpusSpec(**wrong)
    assert "\n" not in str(caught.value)


def test_the_largest_numbers_can_be_performed():
    spec = CorpusSpec(motion=2, fps=120)
    assert len(perform(0, 1.0, spec.fps, "idle", spec.motion).people[0].controls) == 120


def test_an_unwritable_folder_gives_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        build_corpus(tmp_path / "file" / "corpus", SPEC)
