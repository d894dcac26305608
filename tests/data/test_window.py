from dataclasses import replace

import numpy as np
import pytest
import torch

from bad_input import float_wav
from lpm.data import (
    BODY_VIEWS,
    EXPRESSIONS,
    Beginning,
    Cut,
    Latents,
    Pixels,
    SchemaError,
    all_references,
    begin_or_continue,
    collate,
    continue_from_causal,
    cut_audio,
    decode,
    draw_kinds,
    draw_references,
    early_start,
    first_start,
    pack,
    random_start,
    read_audio,
    read_video,
)


def start_at(frame):
    return lambda total, frames, rng: frame


def rng(seed=0):
    return np.random.default_rng(seed)


CUT = Cut(frames=9, pictures=[Pixels(), Latents()], start=start_at(8), references=all_references)


def test_everything_is_cut_at_the_same_place(sample):
    clip = CUT(sample, rng())
    np.testing.assert_array_equal(clip.video_THWC, read_video(sample["mp4"])[0][8:17])
    assert clip.latents_TCYX[:, 0, 0, 0].tolist() == [102, 3, 4]  # still 2, then latents 3 and 4
    assert clip.truth["yaw"].tolist() == list(range(8, 17))
    assert clip.state_T.tolist() == [1] * 9
    speak = read_audio(sample["speak.wav"])
    np.testing.assert_array_equal(clip.speak_S, speak[round(8 / 24 * 16000) :][:6000])


def test_a_window_may_begin_with_an_earlier_picture(sample):
    clip = replace(CUT, beginning=lambda start, rng: Beginning(4, given=2))(sample, rng())
    np.testing.assert_array_equal(clip.video_THWC, read_video(sample["mp4"])[0][[4, *range(9, 17)]])
    assert clip.latents_TCYX[:, 0, 0, 0].tolist() == [101, 3, 4]  # still 1, then latents 3 and 4
    assert clip.truth["yaw"].tolist() == list(range(8, 17))
    assert collate([clip, CUT(sample, rng())]).given_B.tolist() == [2, 1]


def test_windows_begin_or_continue():
    drawn = [begin_or_continue(8, rng(seed)) for seed in range(400)]
    begun = [beginning for beginning in drawn if beginning.given == 1]
    assert set(begun) == {Beginning(8)}
    assert len(begun) / len(drawn) == pytest.approx(0.5, abs=0.07)
    assert {(b.anchor, b.given) for b in drawn if b.given > 1} == {(a, g) for a in (0, 4, 8) for g in (2, 3)}


def test_nothing_continues_from_the_first_latents_of_a_clip():
    """Starts below the least drop begin, starts at or above the largest do as ``begin_or_continue`` does."""
    given = {
        start: [continue_from_causal(4 * start, rng(seed)).given for seed in range(300)] for start in (0, 1, 2, 3, 5, 9)
    }
    assert set(given[0]) == set(given[1]) == {1}
    share = {start: np.mean(np.array(row) > 1) for start, row in given.items()}
    expected = {2: 0.5 / 4, 3: 0.5 * 2 / 4, 5: 0.5, 9: 0.5}  # a drop of 2, 3, 4 or 5, alike
    assert {start: share[start] for start in expected} == pytest.approx(expected, abs=0.09)
    assert {row for row in given[9] if row > 1} == {2, 3}


def test_audio_reaches_before_and_after(sample):
    cut = replace(CUT, history=0.5, lookahead=0.25)
    clip = cut(sample, rng())
    assert len(clip.listen_S) == round((0.5 + 9 / 24 + 0.25) * 16000)
    silent = round((0.5 - 8 / 24) * 16000)
    sounding = clip.listen_S[silent : silent + round(17 / 24 * 16000)]
    assert not clip.listen_S[:silent].any() and (sounding == 0.25).all()
    assert not clip.listen_S[silent + len(sounding) :].any()


def test_cut_audio_keeps_its_length():
    ramp = np.arange(1, 101, dtype=np.float32)
    for start in (-1.0, -0.003, 0.0, 0.004, 5.0):
        cut = cut_audio(ramp, start, 0.01)
        wanted = [ramp[i] if 0 <= (i := round(start * 16000) + j) < 100 else 0 for j in range(160)]
        np.testing.assert_array_equal(cut, wanted)


def test_no_sound_is_silence(sample):
    clip = CUT({name: value for name, value in sample.items() if not name.endswith("wav")}, rng())
    assert len(clip.speak_S) == 6000 and not clip.speak_S.any()


def test_starts_are_multiples_of_four_and_all_occur():
    starts = {random_start(26, 9, rng(seed)) for seed in range(200)}
    assert starts == {0, 4, 8, 12, 16}
    assert random_start(9, 9, rng()) == first_start(26, 9, rng()) == 0


def test_windows_that_reveal_start_early():
    starts = [early_start(26, 9, rng(seed), share=0.6) for seed in range(400)]
    assert set(starts) == {0, 4, 8, 12, 16}
    assert np.mean(np.array(starts) == 0) == pytest.approx(0.6 + 0.4 / 5, abs=0.06)


def test_a_share_of_the_clips_sees_a_random_part_of_the_other_references(sample):
    rows = sample["json"]["references"]
    draws = [tuple(draw_references(rows, rng(seed))) for seed in range(600)]
    assert {(0,), (0, 1), (0, 2), (0, 1, 2)} == set(draws)
    assert np.mean([len(draw) > 1 for draw in draws]) == pytest.approx(0.3, abs=0.05)  # by clip, not by picture
    assert {tuple(draw_references(rows, rng(seed), 1.0, ["expression"])) for seed in range(9)} == {(0, 2)}
    assert {tuple(draw_references(rows, rng(seed), 0.0)) for seed in range(99)} == {(0,)}


def test_kinds_of_references_are_seen_whole_or_not_at_all():
    rows = [{"kind": kind} for kind in ("global", "body", "body", "expression", "expression")]
    draws = [tuple(draw_kinds(rows, rng(seed))) for seed in range(600)]
    assert set(draws) == {(0,), (0, 1, 2), (0, 3, 4), (0, 1, 2, 3, 4)}
    assert [np.mean([row in draw for draw in draws]) for row in (1, 3)] == pytest.approx([0.75, 0.75], abs=0.05)
    assert np.mean([len(draw) == 5 for draw in draws]) == pytest.approx(0.75**2, abs=0.06)  # independently


def test_collate_pads_and_masks(sample, make_sample):
    bare = replace(CUT, references=lambda rows, rng: [])
    batch = collate([CUT(sample, rng()), bare(make_sample(1), rng())])
    assert batch.video_BTCHW.shape == (2, 9, 3, 32, 32) and batch.video_BTCHW.abs().max() <= 1
    assert batch.latents_BTCYX.shape == (2, 3, 2, 4, 4) and batch.latents_BTCYX.dtype == torch.float32
    refs = batch.references
    assert refs.mask_BR.tolist() == [[True, True, True], [False, False, False]]
    assert refs.kind_BR[0].tolist() == [0, 1, 2]
    assert refs.sub_kind_BR[0].tolist() == [0, BODY_VIEWS.index("right"), EXPRESSIONS.index("afraid")]
    assert refs.latents_BRCYX[0, :, 0, 0, 0].tolist() == [0, 1, 2]
    assert refs.pixels_BRCHW[0, 1].mean() == pytest.approx(101 / 127.5 - 1, abs=1e-3)
    assert batch.truth["smile"].tolist() == [[0.0] * 9, [1.0] * 9]
    assert batch.text == ["clip 0", "clip 1"] and batch.fps == 24.0


def test_no_reference_at_all(sample):
    none = replace(CUT, references=lambda rows, rng: [])
    refs = collate([none(sample, rng())]).references
    assert refs.mask_BR.tolist() == [[False]] and refs.pixels_BRCHW.shape == (1, 1, 3, 32, 32)


def test_mixed_rates_and_sizes_are_refused(sample, make_sample):
    with pytest.raises(ValueError, match="cannot mix"):
        collate([CUT(sample, rng()), CUT(make_sample(2, fps=25.0), rng())])
    other = CUT(sample, rng())
    other.video_THWC = other.video_THWC[:, :16]
    with pytest.raises(ValueError, match="cannot mix video"):
        collate([CUT(sample, rng()), other])


def test_rates_that_differ_by_their_rounding_share_a_batch(make_sample):
    """29.997 and 30 frames a second; 121 frames of sound differ by 6 samples."""
    cut = Cut(frames=121, pictures=[], fps=30.0, start=first_start)
    batch = collate([cut(make_sample(number, 121, fps), rng()) for number, fps in enumerate((29.997, 30.0))])
    assert batch.fps == 30.0 and batch.speak_BS.shape == (2, round(121 / 30 * 16_000))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"frames": 21}, "short"),
        ({"fps": 25.0}, "fps"),
    ],
)
def test_unfit_samples_have_a_reason(sample, change, reason):
    with pytest.raises(SchemaError) as caught:
        replace(CUT, **change)(sample, rng())
    assert caught.value.reason == reason


def test_a_sample_without_any_reference_has_a_reason(make_sample):
    sample = make_sample(0)
    sample["json"]["references"] = []
    with pytest.raises(SchemaError, match="0 references; give at least one picture") as caught:
        CUT(sample, rng())
    assert caught.value.reason == "no reference"


def test_sound_alone_needs_a_voice(sample):
    """Either voice is enough; a clip without any would teach silence."""
    cut = replace(CUT, pictures=[])
    for voice in ("speak.wav", "listen.wav"):
        assert cut({name: value for name, value in sample.items() if name != voice}, rng()).fps == 24.0
    with pytest.raises(SchemaError, match=r"neither speak\.wav nor listen\.wav") as caught:
        cut({name: value for name, value in sample.items() if not name.endswith("wav")}, rng())
    assert caught.value.reason == "no sound"


CONTROLS = {"controls": np.zeros((17, 2), np.float32), "names": np.array(["yaw", "smile"])}
TRUTH = pack({"truth.npz": CONTROLS})["truth.npz"]


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("mp4", b"broken", "corrupt mp4"),
        ("speak.wav", b"broken", "corrupt speak.wav"),
        ("speak.wav", float_wav(np.full(16_000, np.nan)), "corrupt speak.wav"),
        ("ref.01.png", b"broken", "corrupt reference"),
        ("truth.npz", b"broken", "corrupt truth.npz"),
        ("truth.npz", TRUTH[: len(TRUTH) // 2], "corrupt truth.npz"),
        ("truth.npz", TRUTH[:70] + b"\xff\xff" + TRUTH[72:], "corrupt truth.npz"),
        ("truth.npz", {"controls": np.zeros((17, 1)), "names": np.array(["yaw", "smile"])}, "truth"),
        ("latent.npy", b"\x93NUMPY\x01\x00\x02\x00{(", "corrupt latent.npy"),
        ("latent.npy", np.zeros(()), "latents"),
        ("ref.npy", np.zeros((2, 2, 4, 4), np.float16), "latents"),
        ("latent.npy", np.zeros((2, 2, 4, 4), np.float16), "latents"),
    ],
)
def test_damaged_fields_have_a_reason(sample, field, value, reason):
    with pytest.raises(SchemaError) as caught:
        CUT({**sample, field: value}, rng())
    assert caught.value.reason == reason


def test_a_huge_picture_is_corrupt(sample, monkeypatch):
    """Pillow refuses to decode what would fill the memory."""
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SchemaError, match=r"ref\.00\.png: Image size") as caught:
        decode(sample, "ref.00.png")
    assert caught.value.reason == "corrupt reference"


def test_window_must_be_one_plus_a_multiple_of_four():
    with pytest.raises(ValueError, match="take 9 or 13"):
        Cut(frames=10, pictures=[Pixels()])
    with pytest.raises(ValueError, match="history"):
        Cut(frames=9, pictures=[Pixels()], history=-1)
