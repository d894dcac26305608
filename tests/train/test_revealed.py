"""What references fix: who sees which of them, and scores of what a first picture does not show."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lpm.data.puppets.controls import CONTROLS, neutral
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.reveal import break_into_smile, own_smile, smile_own_way, turn_of
from lpm.train.frames import to_pixels
from lpm.train.revealed import differences, measure_revealed, mouths, psnr, revealed_sides, standing_smile
from lpm.train.revealed import summarise_revealed as summarise
from lpm.train.seeing import SETS, reference_performers, with_kinds, with_others
from lpm.types import Batch, References

FRAMES, SIDE = 97, 64


class Truthful:
    """A reader that takes the smile from the frames' mean brightness, and is sure of who it is."""

    def __init__(self, video):
        mean = video.reshape(len(video), -1).mean(1) / 255
        self.aperture = self.yaw = self.pitch = self.roll = self.smile = mean
        self.identity = np.zeros((len(video), len(sample_identity(0).vector())))
        self.background = np.zeros((len(video), 3))
        self.valid = np.ones(len(video), bool)


def make_batch(reveals=("turn", "smile", "turn"), identities=(1, 16, 4)):
    """Clips of puppets that turn or smile, each with a global reference, two body views and an expression."""
    videos, truth, meta = [], [], []
    for reveal, who in zip(reveals, identities, strict=True):
        turn_T = turn_of(reveal, 7, FRAMES, 24.0)
        controls = neutral(FRAMES)
        controls[:, 0] = 10 * np.sin(np.arange(FRAMES) / 10)
        if reveal == "smile":
            controls = smile_own_way(break_into_smile(controls, 24.0), own_smile(who))
        videos.append(Puppet(sample_identity(who), SIDE, framing=1.3).render(controls, turn_T=turn_T))
        truth.append(np.column_stack([controls, turn_T]).astype(np.float32))
        tags = {"reveal": reveal, "identity_seed": who, "framing": 1.3}
        tags["identity_vector"] = sample_identity(who).vector().tolist()
        meta.append({"identity": f"puppet-{who}", "fps": 24.0, "tags": tags})
    rows, table = len(meta), torch.from_numpy(np.stack(truth))
    pixels = torch.arange(rows * 4.0).reshape(rows, 4, 1, 1, 1).expand(rows, 4, 3, SIDE, SIDE) / 16 - 0.5
    return Batch(
        keys=[f"clip{number}" for number in range(rows)],
        fps=24.0,
        speak_BS=torch.zeros(rows, FRAMES * 16000 // 24),
        listen_BS=torch.zeros(rows, FRAMES * 16000 // 24),
        history=0.0,
        text=["turns"] * rows,
        state_BT=torch.full((rows, FRAMES), 2),
        references=References(
            kind_BR=torch.tensor([[0, 1, 1, 2]] * rows),
            sub_kind_BR=torch.tensor([[0, 1, 3, 0]] * rows),
            mask_BR=torch.ones(rows, 4, dtype=torch.bool),
            pixels_BRCHW=pixels,
        ),
        video_BTCHW=torch.stack([to_pixels(video) for video in videos]),
        truth={name: table[:, :, column] for column, name in enumerate((*CONTROLS, "turn"))},
        meta=meta,
    )


@pytest.fixture(scope="module")
def batch():
    return make_batch()


@pytest.mark.parametrize(("name", "columns"), [("global", [0]), ("body", [0, 1, 2]), ("expression", [0, 3])])
def test_a_set_of_references_is_all_that_is_left(batch, name, columns):
    seen = with_kinds(batch, SETS[name]).references
    assert seen.kind_BR[0].tolist() == batch.references.kind_BR[0, columns].tolist()
    assert seen.mask_BR.all() and seen.latents_BRCYX is None
    assert torch.equal(seen.pixels_BRCHW, batch.references.pixels_BRCHW[:, columns])


def test_a_row_without_a_kind_is_masked_where_others_have_it(batch):
    kinds = batch.references.kind_BR.clone()
    kinds[1, 1:] = 2
    mixed = replace(batch, references=replace(batch.references, kind_BR=kinds))
    seen = with_kinds(mixed, SETS["body"]).references
    assert seen.mask_BR.tolist() == [[True, True, True], [True, False, False], [True, True, True]]


def test_everything_but_the_global_reference_is_exchanged_with_somebody_else():
    batch = make_batch(("turn", "turn", "turn"), (1, 1, 4))
    own, mixed = batch.references, with_others(batch).references
    assert torch.equal(mixed.pixels_BRCHW[:, 0], own.pixels_BRCHW[:, 0])
    assert torch.equal(mixed.pixels_BRCHW[:, 1:], own.pixels_BRCHW[[2, 2, 0], 1:])
    with pytest.raises(ValueError, match="a batch of puppet-1 alone"):
        with_others(make_batch(("turn", "smile"), (1, 1)))


def test_the_model_sees_each_set_from_equal_noise(batch, model, monkeypatch):
    seen = []

    def perform(batch, steps, chunk, generator):
        seen.append((batch.references.kind_BR[0].tolist(), torch.randn(1, generator=generator).item()))
        return batch.video_BTCHW

    monkeypatch.setattr(model, "perform", perform)
    made = reference_performers(model, steps=1, chunk=8)
    assert list(made) == ["truth", "codec", "still", *SETS, "others"]
    for name in (*SETS, "others"):
        made[name](batch)
    assert [kinds for kinds, _ in seen] == [[0], [0, 1, 1], [0, 2], [0, 1, 1, 2], [0, 1, 1, 2]]
    assert len({noise for _, noise in seen}) == 1
    still = made["still"](batch)
    assert torch.equal(still[:, 0], batch.video_BTCHW[:, 0]) and torch.equal(still[:, 5], still[:, 0])


def test_scores_see_only_what_is_revealed(batch):
    """A performer that errs on the sides, or in the mouth, alone is told from one that errs elsewhere alone."""
    true = batch.video_BTCHW
    back = torch.from_numpy(revealed_sides(batch.truth["turn"][0].numpy())[0])
    stands = torch.from_numpy(standing_smile(batch.truth["smile"][1].numpy()))
    assert back.any() and not back.all() and stands.any() and not stands[0]

    def noisy(where_BT):
        return true + 0.3 * where_BT[:, :, None, None, None]

    sides = noisy(torch.stack([back, stands, back]))
    elsewhere = noisy(torch.stack([~back, ~stands, ~back]))
    corner = true.clone()
    corner[:, :, :, :8, :8] += 0.3
    made = {"truth": true, "global": elsewhere, "body": sides, "corner": corner}
    rows = measure_revealed({name: lambda _, v=video: v for name, video in made.items()}, [batch], Truthful)
    assert [row.key for row in rows] == batch.keys
    assert list(rows[0].scores) == ["back_psnr", "face_psnr", "face_identity"] and list(rows[1].scores) == [
        "mouth_psnr",
        "smile_error",
    ]
    for row, name in ((rows[0], "back_psnr"), (rows[1], "mouth_psnr")):
        assert row.scores[name]["truth"] == row.scores[name]["global"] == 60
        assert row.scores[name]["body"] < 30
    assert rows[1].scores["mouth_psnr"]["corner"] == 60 > rows[0].scores["back_psnr"]["corner"]
    smiles = rows[1].scores["smile_error"]
    assert smiles["global"] == pytest.approx(smiles["truth"]) and abs(smiles["body"] - smiles["truth"]) > 0.05
    report, gap = summarise(rows, FRAMES, 24.0), differences(rows, names=["body"])
    assert int(report.scores["back_psnr"]["body"].n) == 2 and int(report.scores["mouth_psnr"]["body"].n) == 1
    wanted = [row.scores["back_psnr"]["body"] - row.scores["back_psnr"]["global"] for row in (rows[0], rows[2])]
    assert float(gap["back_psnr"]["body"].value) == pytest.approx(np.mean(wanted))


def test_a_cut_reveals_all_frames_but_the_first():
    batch = make_batch(("cut",), (4,))
    true = batch.video_BTCHW
    first = torch.zeros(FRAMES)
    first[0] = 0.3
    made = {"truth": true, "first": true + first[:, None, None, None], "rest": true + 0.3 - first[:, None, None, None]}
    (row,) = measure_revealed({name: lambda _, v=video: v for name, video in made.items()}, [batch], Truthful)
    score = "back_psnr" if np.isfinite(row.scores["back_psnr"]["truth"]) else "face_psnr"
    assert row.scores[score]["truth"] == row.scores[score]["first"] == 60 > 30 > row.scores[score]["rest"]


def test_a_face_that_was_seen_at_first_is_not_revealed():
    turn_T = np.arange(0.0, 361.0, 5.0)
    back, face = revealed_sides(turn_T)
    assert not face[turn_T <= 45].any() and back[turn_T == 90].all() and not back[turn_T == 330].any()
    back, face = revealed_sides(turn_T + 180)
    assert face[turn_T == 180].all() and face.sum() == 19 and not face[0]


def test_a_smile_that_is_there_at_first_does_not_count():
    assert standing_smile(np.array([0.0, 0.3, 0.6, 0.6])).tolist() == [False, False, True, True]
    assert not standing_smile(np.array([0.5, 0.6, 0.6])).any()
    assert not standing_smile(np.zeros(3)).any()


def test_the_box_follows_the_mouth(batch):
    from lpm.train.measure import measure_batch

    clip = measure_batch({"truth": lambda batch: batch.video_BTCHW}, batch, Truthful)[1]
    video = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    video[:] = np.arange(SIDE)[None, None, :, None]
    left = mouths(clip, video)[:, 0, 0, 0].astype(float)
    assert mouths(clip, video).shape[1:3] == (18, 26)
    assert np.corrcoef(left, clip.truth["yaw"].numpy())[0, 1] > 0.95


def test_clips_that_reveal_nothing_are_refused(batch):
    plain = make_batch(("smile",), (1,))
    plain.meta[0]["tags"]["reveal"] = ""
    with pytest.raises(ValueError, match="puppet-1 reveals nothing"):
        measure_revealed({"truth": lambda batch: batch.video_BTCHW}, [plain], Truthful)
    with pytest.raises(ValueError, match="no clip to measure"):
        differences([])


def test_psnr_of_equal_pictures_is_bounded():
    assert psnr(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3), np.uint8)) == 60
