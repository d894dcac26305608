"""The camera crew of raw videos: who is in the picture, and where the faces are."""

import numpy as np
import pytest

from lpm.data.puppets.camera import Person, face_boxes, film, panels
from lpm.data.puppets.controls import COLUMN, neutral
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.shots import CAMERAS, Shot, plan_shots


def test_shots_cover_every_frame_and_never_cut_to_the_same_camera():
    speaking_PT = np.arange(2)[:, None] == (np.arange(600) // 100 % 2)
    shots = plan_shots(speaking_PT, 24.0, np.random.default_rng(0))
    assert [shot.start for shot in shots] == [0, *(shot.end for shot in shots[:-1])] and shots[-1].end == 600
    assert all(one.camera != two.camera for one, two in zip(shots, shots[1:], strict=False))


def test_a_long_video_shows_one_person_and_two_and_mostly_who_speaks():
    speaking_PT = np.arange(2)[:, None] == (np.arange(24 * 900) // 100 % 2)
    shots = plan_shots(speaking_PT, 24.0, np.random.default_rng(0))
    assert {shot.camera for shot in shots} == set(CAMERAS)
    assert {len(panels(shot, 48)) for shot in shots} == {1, 2}
    singles = [shot for shot in shots if len(shot.people) == 1]
    shown = [np.argmax(speaking_PT[:, shot.start : shot.end].mean(1)) == shot.people[0] for shot in singles]
    assert len(singles) > 50 and np.mean(shown) > 0.6


@pytest.mark.parametrize("camera", CAMERAS)
def test_face_boxes_lie_in_their_panel_around_mouth_and_eyes(camera):
    """A mouth that spreads and eyes that close change pixels inside the box alone."""
    height, shot, random = 96, Shot(0, 8, camera), np.random.default_rng(0)
    people = [Person(sample_identity(seed), neutral(8), np.zeros(8)) for seed in (4, 7)]
    for person in people:
        for name, reach in (("yaw", 30), ("pitch", 10), ("roll", 10), ("x", 0.1), ("y", 0.1), ("lean", 0.1)):
            person.controls[:, COLUMN[name]] = random.uniform(-reach, reach, 8)
    boxes = [face_boxes(people[panel.person], shot, panel, height) for panel in panels(shot, height)]
    still = np.stack(list(film(people, [shot], height, lambda frames: None))).astype(int)
    for person in people:
        person.controls[:, [COLUMN[name] for name in ("width", "blink_l", "blink_r")]] = 1
    moved_THW = np.abs(np.stack(list(film(people, [shot], height, lambda frames: None))) - still).sum(-1)
    for panel, box_T4 in zip(panels(shot, height), boxes, strict=True):
        for moved_HW, (x0, y0, x1, y1) in zip(moved_THW, box_T4, strict=True):
            assert panel.left <= x0 < x1 <= panel.left + panel.width and 0 <= y0 < y1 <= height
            assert (x1 - x0) * (y1 - y0) < 0.45 * panel.width * height
            inside = moved_HW[y0:y1, x0:x1].sum()
            assert inside > 1000 and inside > 0.9 * moved_HW[:, panel.left : panel.left + panel.width].sum()
