"""Clips that reveal what their first picture does not show are there on request, and change nothing otherwise."""

import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lpm.data import read_video
from lpm.data.puppets.clip import make_clip
from lpm.data.puppets.controls import COLUMN, CONTROLS, neutral
from lpm.data.puppets.draw import VIEWS, Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.plan import CorpusSpec, plan_split, spec_hash
from lpm.data.puppets.references import EXPRESSIONS, draw_references
from lpm.data.puppets.reveal import (
    TURN_BEGINS,
    TURN_STANDS,
    break_into_smile,
    cutting,
    own_smile,
    smile_own_way,
    turning,
)

SPEC = CorpusSpec(
    identities=6, val_identities=6, test_identities=1, seen_clips=4, seconds=1.5, size=48,
    kinds={"idle": 1.0}, reveals={"turn": 0.5, "smile": 0.5},
)  # fmt: skip


def clips(spec, split="val"):
    return [clip for shard in plan_split(spec, split) for clip in shard.clips]


def test_a_turned_frame_equals_the_same_view_drawn_alone():
    puppet, controls = Puppet(sample_identity(12), size=64), neutral(8)
    controls[:, COLUMN["yaw"]] = np.linspace(-20, 20, 8)
    turn_T = np.array([0, VIEWS["right"], 180, 180, VIEWS["left"], 0, 180, VIEWS["left"]], float)
    turned = puppet.render(controls, turn_T=turn_T)
    names = ["front", "right", "rear", "rear", "left", "front", "rear", "left"]
    for i, name in enumerate(names):
        assert np.array_equal(turned[i], puppet.render(controls[i : i + 1], view=name)[0]), name
    assert np.array_equal(puppet.render(controls, turn_T=np.zeros(8)), puppet.render(controls))
    assert np.array_equal(puppet.render(controls[:1], "rear", np.array([180.0])), puppet.render(controls[:1]))


@pytest.mark.parametrize("turn_T", [np.zeros(3), np.array([0.0, np.nan])])
def test_a_wrong_turn_is_refused(turn_T):
    with pytest.raises(ValueError, match="one finite angle for each of 2 frames"):
        Puppet(sample_identity(1), size=16).render(neutral(2), turn_T=turn_T)


def test_every_character_reveals_its_due_of_each():
    found = Counter((clip.identity, clip.reveal) for clip in clips(SPEC))
    assert set(found.values()) == {1} and len(found) == 12
    many = Counter(clip.reveal for clip in clips(replace(SPEC, reveals={"turn": 0.4, "smile": 0.4}), "train"))
    assert [many[name] for name in ("turn", "smile", "")] == pytest.approx([14.4, 14.4, 7.2], abs=2)
    assert {clip.reveal for clip in clips(SPEC, "seen")} == {"turn", "smile"}


def test_a_corpus_that_reveals_nothing_is_as_it_was():
    assert spec_hash(CorpusSpec()) == "0db9040d3fed416e"
    assert {clip.reveal for clip in clips(replace(SPEC, reveals={}))} == {""}
    with pytest.raises(ValueError, match="'dance', which is unknown"):
        CorpusSpec(reveals={"dance": 0.5})
    with pytest.raises(ValueError, match="sum to 1 or less"):
        CorpusSpec(reveals={"turn": 0.6, "smile": 0.6})


def test_smiles_differ_and_a_face_at_rest_tells_nothing():
    smiles = np.stack([own_smile(seed) for seed in range(40)])
    spread = smiles.std(0)[[COLUMN[name] for name in ("smile", "smirk", "aperture", "width")]]
    assert (spread > 0.1).all()
    still = neutral(3)
    still[:, COLUMN["smile"]] = -0.5
    assert np.array_equal(smile_own_way(still, smiles[0]), still)
    smiling = smile_own_way(break_into_smile(neutral(48), 24.0), smiles[0])
    assert np.array_equal(smiling[0], neutral(1)[0])
    assert np.allclose(smiling[-1], smiles[0])


def test_a_turn_goes_from_one_body_view_to_the_next_and_stands():
    turn_T = turning(3, 49, 24.0)
    assert np.isclose(turn_T[-1] - turn_T[0], 90) and (np.diff(turn_T) >= 0).all()
    begins, stands = round(24 * TURN_BEGINS), round(24 * TURN_STANDS)
    assert (turn_T[:begins] == turn_T[0]).all() and (turn_T[stands:] == turn_T[-1]).all()
    first = {float(turning(seed, 1, 24.0)[0]) for seed in range(60)}
    assert first == {0.0, 90.0, 180.0, 270.0}


def test_a_cut_is_from_one_body_view_to_the_next_at_once():
    """From the same side as the same clip would turn from, to where it would stand."""
    for seed in range(8):
        cut_T, turn_T = cutting(seed, 49), turning(seed, 49, 24.0)
        assert cut_T[0] == turn_T[0] and (cut_T[1:] == turn_T[-1]).all()


def test_expressions_show_the_own_smile_and_the_global_reference_does_not():
    puppet, smile_K = Puppet(sample_identity(12), size=64), own_smile(16)

    def draw(smile):
        return draw_references(
            puppet, "clean", neutral()[0], np.random.default_rng(4), lambda names, rng: list(names), smile
        )

    own, other, plain = draw(smile_K), draw(own_smile(17)), draw(None)
    names = [reference.sub_kind for reference in own]
    assert names == ["", *VIEWS, *EXPRESSIONS]
    assert np.array_equal(own[0].image, other[0].image)
    happy = names.index("happy")
    assert not np.array_equal(own[happy].image, other[happy].image)
    assert not np.array_equal(own[happy].image, plain[happy].image)
    assert all(np.array_equal(own[i].image, plain[i].image) for i in range(1, 5))


@pytest.mark.parametrize("reveal", ["turn", "cut", "smile", "smile_cut"])
def test_a_clip_tells_what_it_reveals_and_has_the_references_for_it(reveal):
    pytest.importorskip("espeakng_loader")
    smile = "smile_cut" if reveal == "smile_cut" else "smile"
    spec = replace(SPEC, reveals={"cut" if reveal == "cut" else "turn": 0.5, smile: 0.5})
    clip = next(clip for clip in clips(spec) if clip.reveal == reveal)
    files, _ = make_clip(clip, spec)
    meta = json.loads(files["json"])
    truth = np.load(io.BytesIO(files["truth.npz"]))
    assert list(truth["names"]) == [*CONTROLS, "turn"]
    assert meta["tags"]["reveal"] == reveal and all(word in meta["caption"] for word in reveal.split("_"))
    kinds = [(row["kind"], row["sub_kind"]) for row in meta["references"]]
    assert kinds[:5] == [("global", ""), *(("body", view) for view in VIEWS)]
    assert ("expression", "happy") in kinds and len(kinds) == 7
    turn_T, smile_T = truth["controls"][:, -1], truth["controls"][:, COLUMN["smile"]]
    if reveal != smile:
        assert np.ptp(turn_T) > 60
        if reveal == "cut":
            video = read_video(files["mp4"])[0].astype(float)
            change = np.abs(np.diff(video, axis=0)).mean((1, 2, 3))
            assert change[0] > 5 * change[1:].max()
    else:
        assert not turn_T.any() and smile_T[0] == 0 and smile_T[-1] == pytest.approx(own_smile(clip.identity)[13])
        assert (smile_T[1] == smile_T[-1]) == (reveal == "smile_cut")
    assert Image.open(io.BytesIO(files["ref.01.png"])).size == (48, 48)
