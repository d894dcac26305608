import dataclasses

import cv2
import numpy as np
import pytest

from lpm.data.puppets.controls import COLUMN, CONTROLS, neutral, pose
from lpm.data.puppets.draw import VIEWS, Puppet
from lpm.data.puppets.expressions import EXPRESSIONS, expression
from lpm.data.puppets.identity import BACKGROUNDS, COLLARS, HAIR_STYLES, PALETTE, RANGES, sample_identity
from lpm.data.puppets.style import STYLES

PERSON = sample_identity(4)  # no glasses, no beard
FACE, EYES, MOUTH = (slice(8, 80), slice(20, 76)), (slice(32, 52), slice(24, 72)), (slice(54, 82), slice(30, 66))
# Where each control of the face may change pixels at size 96, framing 1: (rows, columns).
PLACES = {
    "gaze_x": EYES,
    "gaze_y": EYES,
    "blink_l": (slice(32, 52), slice(24, 48)),
    "blink_r": (slice(32, 52), slice(48, 72)),
    "eyelid": (slice(28, 52), slice(24, 72)),
    "brow": (slice(28, 44), slice(24, 72)),
    "frown": (slice(28, 46), slice(24, 72)),
    "smirk": (slice(44, 76), slice(30, 66)),
    "width": MOUTH,
    "round": MOUTH,
    "tongue": MOUTH,
    "sneer": (slice(36, 76), slice(24, 72)),
    "smile": (slice(36, 80), slice(24, 72)),
    "aperture": (slice(54, 88), slice(24, 72)),
}


def sweep(name: str, values: np.ndarray, **others: float) -> np.ndarray:
    rows = np.stack([pose(**others)] * len(values))
    rows[:, COLUMN[name]] = values
    return Puppet(PERSON).render(rows).astype(np.float64)


def change(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.abs(frames - reference).sum((1, 2, 3))


def centres(weight: np.ndarray) -> np.ndarray:
    """Return the centre column of what exceeds 60 in (T, H, W), one per frame."""
    weight = np.clip(weight - 60, 0, None)
    return (weight.sum(1) * np.arange(weight.shape[2])).sum(1) / weight.sum((1, 2))


@pytest.mark.parametrize("size", [32, 96, 130])
def test_frames_have_the_asked_size(size):
    frames = Puppet(PERSON, size).render(neutral(3))
    assert frames.shape == (3, size, size, 3)
    assert frames.dtype == np.uint8
    assert frames.std() > 20


def test_no_frames_in_no_frames_out():
    assert Puppet(PERSON, 32).render(neutral(0)).shape == (0, 32, 32, 3)


def test_drawing_is_deterministic_and_frames_do_not_depend_on_each_other():
    random = np.random.default_rng(0)
    controls = (random.uniform(-1, 1, (140, len(CONTROLS))) * 0.5).astype(np.float32)
    controls[:, :3] *= 40
    whole = Puppet(PERSON, 48).render(controls)
    assert (whole == Puppet(PERSON, 48).render(controls)).all()
    assert (whole[135] == Puppet(PERSON, 48).render(controls[135:136])[0]).all()


def test_rendering_leaves_the_thread_setting_alone():
    before = cv2.getNumThreads()
    Puppet(PERSON, 32).render(neutral(1))
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize("name", [name for name in CONTROLS if name not in ("tongue", "gaze_x", "gaze_y", "x", "y")])
def test_every_control_moves_more_pixels_the_further_it_goes(name):
    reach = {"yaw": 30.0, "pitch": 20.0, "roll": 20.0, "lean": 0.2}.get(name, 1.0)
    frames = sweep(name, np.linspace(0, reach, 5))
    distance = change(frames, frames[0])
    assert (np.diff(distance) > 0).all()
    assert distance[-1] > 2500


@pytest.mark.parametrize("name", sorted(PLACES))
def test_controls_of_the_face_are_local(name):
    frames = sweep(name, np.array([0.0, 1.0]), aperture=0.6 if name == "tongue" else 0.0)
    moved = np.abs(frames[1] - frames[0]).sum(-1)
    inside = moved[PLACES[name]].sum()
    assert inside > 400
    assert inside > 0.9 * moved.sum()


def painted(seed: int) -> Puppet:
    """Return a puppet whose green skin, blue lips and magenta eyes set every organ apart, at 192 pixels."""
    colours = {"skin": (110, 200, 110), "lips": (60, 90, 220), "iris": (250, 20, 250)}
    return Puppet(dataclasses.replace(sample_identity(seed), beard=False, glasses=False, **colours), 192)


def mouth_inside(frames: np.ndarray) -> np.ndarray:
    """Return where (T, H, W) teeth, tongue or the dark between them show."""
    mouth = frames[:, 116:168, 56:136].astype(np.float64)
    return (mouth[..., 0] > 1.4 * mouth[..., 1]) | (mouth.min(-1) > 190)


@pytest.mark.parametrize("seed", [4, 7, 24])
def test_the_mouth_opens_in_proportion_to_aperture(seed):
    aperture = np.linspace(0, 1, 21)
    area = mouth_inside(painted(seed).render(np.stack([pose(aperture=value) for value in aperture]))).sum((1, 2))
    assert np.corrcoef(aperture, area)[0, 1] > 0.99
    assert (np.diff(area[::2]) > 0).all()


def test_a_hundredth_of_an_opening_is_visible():
    frames = sweep("aperture", np.array([0.30, 0.31]))
    assert 0 < change(frames[1:], frames[0])[0] < 4000


def test_teeth_show_in_an_open_mouth_and_the_tongue_when_asked():
    closed, opened = sweep("aperture", np.array([0.0, 0.6]))
    rows, columns = MOUTH
    white = [(frame[rows, columns].min(-1) > 205).sum() for frame in (closed, opened)]
    bright = sweep("tongue", np.array([0.0, 1.0]), aperture=0.8)[:, rows, columns, 0]
    assert white[1] > white[0]
    assert bright[1].mean() > bright[0].mean()


def test_the_mouth_spreads_and_rounds():
    shapes = ({"round": 1.0}, {"round": 0.5}, {}, {"width": 1.0})
    inside = mouth_inside(painted(4).render(np.stack([pose(aperture=0.4, **shape) for shape in shapes])))
    extent = [int(np.ptp(np.flatnonzero(frame.any(0)))) for frame in inside]
    assert (np.diff(extent) >= 2).all()


def test_a_smirk_is_one_sided():
    frames = sweep("smirk", np.array([-1.0, 0.0, 1.0]))
    left, right = (np.abs(frames[index] - frames[1])[54:82] for index in (0, 2))
    assert left[:, :48].sum() > 1.5 * left[:, 48:].sum()
    assert right[:, 48:].sum() > 1.5 * right[:, :48].sum()


def test_gaze_and_head_move_to_the_named_side():
    puppet, values = painted(4), np.linspace(-1, 1, 5)
    eyes = puppet.render(np.stack([pose(gaze_x=value) for value in values]))[:, 64:104, 48:144].astype(int)
    assert (np.diff(centres(eyes[..., 0] - eyes[..., 1])) > 0).all()
    heads = puppet.render(np.stack([pose(yaw=40 * value) for value in values]))[:, 108:160, 40:152].astype(int)
    assert (np.diff(centres(heads[..., 2] - heads[..., 1])) > 2).all()


def test_a_head_turns_without_jumps():
    frames = sweep("yaw", np.linspace(-45, 45, 61))
    steps = np.abs(np.diff(frames, axis=0)).sum((1, 2, 3))
    assert steps.max() < 1.6 * np.median(steps)


def test_views_are_different_pictures_and_profiles_mirror_each_other():
    puppet = Puppet(PERSON, 96)
    pictures = {view: puppet.render(neutral(1), view)[0].astype(int) for view in VIEWS}
    names = list(VIEWS)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            assert np.abs(pictures[first] - pictures[second]).mean() > 6
    # The head is a mirrored shape; light and background are not.
    background = puppet.render(pose(y=2.0)[None], "rear")[0].astype(int)
    left, right = (np.abs(pictures[view] - background).sum(-1) > 60 for view in ("left", "right"))
    assert (left[10:70] == right[10:70, ::-1]).mean() > 0.85


@pytest.mark.parametrize("view", ["left", "right"])
def test_the_mouth_moves_in_profile(view):
    rows = np.stack([pose(aperture=value) for value in (0.0, 0.5, 1.0)])
    frames = Puppet(PERSON).render(rows, view).astype(np.float64)
    distance = change(frames, frames[0])
    assert distance[2] > distance[1] > 1500


def test_framing_magnifies():
    def width(framing: float) -> int:
        closed, opened = Puppet(PERSON, framing=framing).render(np.stack([pose(), pose(aperture=0.7)])).astype(int)
        return int(np.ptp(np.flatnonzero((np.abs(opened - closed).sum(-1) > 60).any(0))))

    assert 1.2 < width(1.35) / width(1.0) < 1.5


def test_styles_differ_and_do_not_flicker():
    pictures = []
    for style in STYLES:
        frames = Puppet(PERSON, style=style).render(neutral(3))
        assert (frames[0] == frames[2]).all()
        pictures.append(frames[0].astype(int))
    for index, first in enumerate(pictures):
        for second in pictures[index + 1 :]:
            assert np.abs(first - second).mean() > 2


@pytest.mark.parametrize("hair_style", HAIR_STYLES)
def test_every_hair_style_is_drawn_in_every_view(hair_style):
    puppet = Puppet(dataclasses.replace(PERSON, hair_style=hair_style), 64)
    bald = Puppet(dataclasses.replace(PERSON, hair_style="bald"), 64)
    for view in VIEWS:
        difference = np.abs(puppet.render(neutral(1), view).astype(int) - bald.render(neutral(1), view)).mean()
        assert difference == 0 if hair_style == "bald" else difference > 1


def drawn(**features) -> np.ndarray:
    """Return a picture (96, 96, 3) of the person with other features."""
    return Puppet(dataclasses.replace(PERSON, **features)).render(neutral(1))[0].astype(int)


@pytest.mark.parametrize(("name", "limits"), [*RANGES.items(), ("parting", (-1.0, 1.0))])
def test_every_proportion_is_drawn(name, limits):
    values = (limits[0], np.mean(limits), limits[1])
    low, middle, high = (drawn(hair_style="short", **{name: value}) for value in values)
    assert np.abs(high - low).sum() > 1000
    assert np.abs(middle - low).sum() > 500


@pytest.mark.parametrize("name", PALETTE)
def test_every_colour_is_drawn(name):
    red, blue = (drawn(hair_style="short", **{name: colour}) for colour in ((250, 20, 20), (20, 20, 250)))
    more = (red - blue).sum((0, 1))
    assert more[0] > 500 and more[2] < -500


@pytest.mark.parametrize(("name", "kinds"), [("background_kind", BACKGROUNDS), ("collar", COLLARS)])
def test_backgrounds_and_collars_are_told_apart(name, kinds):
    pictures = [drawn(**{name: kind}) for kind in kinds]
    for index, first in enumerate(pictures):
        assert all(np.abs(first - second).sum() > 2000 for second in pictures[index + 1 :])


@pytest.mark.parametrize("name", ["beard", "glasses", "earrings"])
def test_accessories_are_visible(name):
    without, worn = (
        Puppet(dataclasses.replace(PERSON, **{name: flag})).render(neutral(1)).astype(int) for flag in (False, True)
    )
    assert np.abs(without - worn).sum() > 500


def test_expressions_grow_with_intensity_and_differ():
    puppet = Puppet(PERSON)
    assert len(EXPRESSIONS) == 8
    half, full = (puppet.render(np.stack([expression(name, i) for name in EXPRESSIONS])).astype(int) for i in (0.5, 1))
    still = puppet.render(neutral(1)).astype(int)
    assert (change(full, still) > change(half, still)).all()
    for index in range(7):
        assert (np.abs(full[index + 1 :] - full[index]).mean((1, 2, 3)) > 0.2).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 8}, "size 8 .* 16..2048"),
        ({"size": 96.0}, "size 96.0"),
        ({"style": "oil"}, "style 'oil' .* clean, flat, sketch, textured"),
        ({"framing": 9.0}, "framing 9.0 .* 0.5..3"),
        ({"identity": {"jaw": 1}}, "identity is dict.*sample_identity"),
    ],
)
def test_bad_arguments_name_value_and_cure(arguments, message):
    with pytest.raises(ValueError, match=message):
        Puppet(**({"identity": PERSON} | arguments))


def test_bad_controls_and_views_name_value_and_cure():
    puppet = Puppet(PERSON, 32)
    with pytest.raises(ValueError, match=r"view 'above' .* front, left, right, rear"):
        puppet.render(neutral(1), "above")
    with pytest.raises(ValueError, match=r"shape \(21,\)"):
        puppet.render(neutral(1)[0])
    with pytest.raises(ValueError, match=r"control 'brow' holds NaN"):
        puppet.render(pose(brow=float("nan"))[None])
    with pytest.raises(ValueError, match=r"expression 'bored' .* happy"):
        expression("bored")
    with pytest.raises(ValueError, match=r"intensity 2.0 .* 0\.\.1"):
        expression("happy", 2.0)
