"""Raw two-person videos as a camera crew would deliver them: mixed sound, cuts, one or two people in the picture.

Nothing in the mp4 says who speaks or where a face is; the `.json` beside it does, so that curation can be scored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.draw import UNIT, Puppet, poses
from lpm.data.puppets.geometry import ellipsoid
from lpm.data.puppets.identity import Identity, sample_identity
from lpm.data.puppets.perform import Scene, perform
from lpm.data.puppets.plan import CorpusSpec, derived_seed, split_casts, whole_latent_frames
from lpm.data.puppets.shots import Shot, plan_shots
from lpm.data.puppets.voice import voice_seed
from lpm.data.schema import STATES, frames_to_states
from lpm.data.video import write_video

FACING = 14.0  # degrees by which each person turns to the other
SINGLE_FRAMING = 0.56  # of a square as wide as the picture, whose middle band is the picture
PAIR_FRAMING = 0.9
PEAK = 0.9  # of the mixed sound
FACE_DEPTH = 0.45  # in head units


@dataclass(frozen=True)
class Person:
    """One of the two people: who, how they move (T, K), and their state by frame (T,)."""

    identity: Identity
    controls: np.ndarray
    states: np.ndarray


@dataclass(frozen=True)
class Panel:
    """Where a shot shows a person: a cut-out of a square drawing, placed on the canvas from column `left` on."""

    person: int
    side: int  # of the square
    framing: float
    x: int  # cut-out in the square
    y: int
    width: int
    left: int  # on the canvas


def make_raw(path: Path, index: int, spec: CorpusSpec, report: Callable[[int], None]) -> None:
    """Write an mp4 with mixed sound and, beside it, a `.json` with its ground truth.

    Args:
        path: the mp4.
        index: number of the video; with the seed it decides everything.
        spec: numbers of the corpus; people come from the test split, so that nothing was seen in training.
        report: called with the number of frames after each shot.
    """
    seed = derived_seed(spec.seed, "raw", index)
    random = np.random.default_rng(seed)
    frames = whole_latent_frames(spec.raw_seconds, spec.fps)
    cast = random.choice(np.array(split_casts(spec)["test"] + split_casts(spec)["val"]), 2, replace=False)
    scene, people = play(seed, [int(person) for person in cast], frames, spec)
    speaking_PT = np.stack([person.states == STATES.index("speaking") for person in people])
    shots = plan_shots(speaking_PT, spec.fps, random)
    truth = describe(scene, [int(person) for person in cast], people, shots, spec)
    part = path.with_suffix(".json.part")
    part.write_text(json.dumps(truth, ensure_ascii=False))
    os.replace(part, path.with_suffix(".json"))
    write_video(path, film(people, shots, spec.raw_height, report), spec.fps, audio=mix(scene))


def play(seed: int, cast: list[int], frames: int, spec: CorpusSpec) -> tuple[Scene, list[Person]]:
    """Perform a conversation between two characters in one room, each turned to the other."""
    identities = [sample_identity(person) for person in cast]
    room = identities[0]
    identities[1] = replace(identities[1], background=room.background, background_kind=room.background_kind)
    voices = [voice_seed(person, identity) for person, identity in zip(cast, identities, strict=True)]
    scene = perform(
        seed, frames / spec.fps, fps=spec.fps, kind="conversation", split="test", voice_seeds=(voices[0], voices[1])
    )
    people = []
    for identity, performance, side in zip(identities, scene.people, (1.0, -1.0), strict=True):
        controls = performance.controls.copy()
        controls[:, COLUMN["yaw"]] += side * FACING
        people.append(Person(identity, controls, performance.states))
    return scene, people


def canvas_width(height: int) -> int:
    """Return the width of a 16:9 picture, divisible by four so that its halves are even."""
    return round(height * 16 / 9 / 4) * 4


def panels(shot: Shot, height: int) -> list[Panel]:
    """Return where the people of a shot are on the canvas."""
    width = canvas_width(height)
    if len(shot.people) == 1:
        return [Panel(shot.people[0], width, SINGLE_FRAMING, 0, (width - height) // 2, width, 0)]
    half = width // 2
    return [Panel(person, height, PAIR_FRAMING, (height - half) // 2, 0, half, person * half) for person in shot.people]


def film(people: list[Person], shots: list[Shot], height: int, report: Callable[[int], None]) -> Iterator[np.ndarray]:
    """Yield the frames (height, width, 3) shot by shot."""
    for shot in shots:
        picture_THWC = np.zeros((shot.end - shot.start, height, canvas_width(height), 3), np.uint8)
        for panel in panels(shot, height):
            person = people[panel.person]
            puppet = Puppet(person.identity, size=panel.side, framing=panel.framing)
            square = puppet.render(person.controls[shot.start : shot.end])
            cut = square[:, panel.y : panel.y + height, panel.x : panel.x + panel.width]
            picture_THWC[:, :, panel.left : panel.left + panel.width] = cut
        yield from picture_THWC
        report(len(picture_THWC))


def mix(scene: Scene) -> np.ndarray:
    """Return both voices in one channel, as one microphone would hear them."""
    mixed = scene.people[0].voice + scene.people[1].voice
    return mixed * (PEAK / max(PEAK, float(np.abs(mixed).max())))


def describe(
    scene: Scene, cast: list[int], people: list[Person], shots: list[Shot], spec: CorpusSpec
) -> dict[str, Any]:
    """Return the ground truth of a video: shots with the visible people's face boxes, states, words and events.

    Boxes are x0, y0, x1, y1 in pixels of the canvas, one per frame of the shot; frames count from the video's start.
    """
    return {
        "fps": spec.fps,
        "frames": shots[-1].end,
        "width": canvas_width(spec.raw_height),
        "height": spec.raw_height,
        "shots": [
            {
                "start": shot.start,
                "end": shot.end,
                "camera": shot.camera,
                "faces": [
                    {"person": panel.person, "boxes": face_boxes(people[panel.person], shot, panel, spec.raw_height)}
                    for panel in panels(shot, spec.raw_height)
                ],
            }
            for shot in shots
        ],
        "people": [
            {
                "identity": f"puppet-{seed}",
                "identity_seed": seed,
                "voice": performance.voice_name,
                "states": frames_to_states(performance.states),
                "caption": performance.caption,
                "events": performance.events,
            }
            for seed, performance in zip(cast, scene.people, strict=True)
        ],
        "transcript": scene.texts,
        "licence": "CC0-1.0",
    }


def face_boxes(person: Person, shot: Shot, panel: Panel, height: int) -> list[list[int]]:
    """Return the box around the face, without hair and neck, for every frame of a shot, cut at the panel's border."""
    controls_TK = person.controls[shot.start : shot.end].astype(float)
    motion = {name: controls_TK[:, index : index + 1] for name, index in COLUMN.items()}
    head, _ = poses(motion, 0.0)
    radii = (person.identity.face_width, person.identity.face_height, FACE_DEPTH)
    outline_TN2 = ellipsoid(head, (0.0, 0.0, 0.0), radii) * (UNIT * panel.framing * panel.side)
    centre = (0.5 * panel.side - panel.x, (0.475 - 0.02 * (panel.framing - 1)) * panel.side - panel.y)
    low_T2, high_T2 = outline_TN2.min(1) + centre, outline_TN2.max(1) + centre
    box_T4 = np.clip(np.concatenate([low_T2, high_T2], 1), 0, (panel.width, height, panel.width, height))
    box_T4[:, ::2] += panel.left
    return np.rint(box_T4).astype(int).tolist()
