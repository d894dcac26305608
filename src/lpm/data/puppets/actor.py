"""How a character moves by itself: mood, head, eyes, beats and mouth, written into one array of controls.

Every function changes ``controls`` (N, K) in place at the times (N,) of the control rate.
"""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.behaviour import MOODS, RULE
from lpm.data.puppets.controls import COLUMN, CONTROLS
from lpm.data.puppets.conversation import Speaker, Talk
from lpm.data.puppets.espeak import STRESS
from lpm.data.puppets.gesture import blink, bump, fixations, poisson_times, sway
from lpm.data.puppets.viseme import CHANNELS, mouth_track

LIMITS = {"yaw": 45.0, "pitch": 30.0, "roll": 30.0, "x": 0.3, "y": 0.3, "lean": 0.4}
UNSIGNED = ("blink_l", "blink_r", "frown", "sneer", "aperture", "round", "tongue")
MOUTH_MOODS = ("smile", "smirk", "sneer", "width")
POSTURE = {"yaw": 6.0, "pitch": 2.0, "roll": 2.0, "x": 0.02, "y": 0.01}  # bounds of the resting pose
SWAY = {"yaw": (5.0, 0.6), "pitch": (2.2, 0.5), "roll": (2.2, 0.6), "lean": (0.015, 1.0)}  # deviation, seconds
FOLLOW = 0.004  # face heights the head shifts per degree of yaw


def hold_mood(
    controls: np.ndarray, times: np.ndarray, rng: np.random.Generator, speaker: Speaker, talks: list[Talk]
) -> None:
    """Hold the emotion on the face, a little weaker and stronger with time, weaker at the mouth during speech."""
    strength = speaker.intensity * np.clip(1 + 0.1 * sway(times, rng, 1.5), 0.7, 1.3)
    speech = np.zeros(len(times))
    for talk in talks:
        speech = np.maximum(speech, bump(times, talk.start - 0.25, 0.25, talk.stop - talk.start, 0.35))
    for name, value in MOODS[speaker.emotion].face.items():
        share = 1 - (1 - RULE.speaking_smile) * speech if name in MOUTH_MOODS else 1.0
        controls[:, COLUMN[name]] += value * strength * share


def move_head(controls: np.ndarray, times: np.ndarray, rng: np.random.Generator, motion: float) -> None:
    """Rest in a posture, sway smoothly and breathe."""
    for name, bound in POSTURE.items():
        controls[:, COLUMN[name]] += rng.uniform(-bound, bound) * min(1.0, 0.3 + 0.7 * motion)
    for name, (deviation, seconds) in SWAY.items():
        controls[:, COLUMN[name]] += motion * deviation * sway(times, rng, seconds)
    controls[:, COLUMN["x"]] += FOLLOW * controls[:, COLUMN["yaw"]]
    phase = 2 * np.pi * (RULE.breath_rate * times + rng.random()) + 0.4 * sway(times, rng, 3.0)
    breath = rng.uniform(0.5, 0.8) * np.sin(phase)
    controls[:, COLUMN["breath"]] += breath
    controls[:, COLUMN["y"]] -= 0.006 * breath


def look_around(
    controls: np.ndarray, times: np.ndarray, rng: np.random.Generator, turns: list[tuple[float, float]],
    aversion: float, motion: float,
) -> None:  # fmt: skip
    """Rest the eyes on the partner with small saccades; look away while planning, at the start of own turns."""
    small = fixations(times, rng, 0.05)
    controls[:, COLUMN["gaze_x"]] += small[:, 0]
    controls[:, COLUMN["gaze_y"]] += small[:, 1] * 0.6
    for start, _ in turns:
        length, side, down = rng.uniform(*RULE.aversion_seconds), rng.choice((-1, 1)), rng.uniform(-0.5, 0.3)
        if rng.random() >= RULE.aversion * aversion:
            continue
        away = bump(times, start - 0.15, 0.08, length, 0.08)
        controls[:, COLUMN["gaze_x"]] += side * rng.uniform(0.35, 0.7) * away
        controls[:, COLUMN["gaze_y"]] += down * away
        controls[:, COLUMN["yaw"]] += motion * side * 4 * bump(times, start - 0.1, 0.3, length - 0.3, 0.4)


def beat(controls: np.ndarray, times: np.ndarray, rng: np.random.Generator, talks: list[Talk], motion: float) -> None:
    """Mark some stressed syllables of own talk with a small nod and raised brows."""
    for talk in talks:
        for phoneme in talk.phonemes():
            happens, size, lift = rng.random() < RULE.beat, rng.uniform(2, 4.5), rng.uniform(0.15, 0.4)
            if not happens or STRESS not in phoneme.ipa or talk.kind == "backchannel":
                continue
            controls[:, COLUMN["pitch"]] += motion * size * bump(times, phoneme.start - 0.08, 0.14, 0.0, 0.22)
            controls[:, COLUMN["brow"]] += lift * bump(times, phoneme.start - 0.1, 0.12, 0.08, 0.2)


def blink_often(controls: np.ndarray, times: np.ndarray, rng: np.random.Generator, phrase_ends: list[float]) -> None:
    """Blink by chance, and more often where own phrases end."""
    moments = poisson_times(rng, RULE.blink_rate, RULE.blink_refractory, times[-1])
    for end in phrase_ends:
        moment, happens = end + rng.uniform(0.0, 0.15), rng.random() < RULE.blink_at_phrase_end
        if happens and all(abs(moment - other) > RULE.blink_refractory for other in moments):
            moments.append(moment)
    for moment in moments:
        closure = blink(times, moment)
        for side in ("blink_l", "blink_r"):
            controls[:, COLUMN[side]] = np.maximum(controls[:, COLUMN[side]], closure)


def speak(controls: np.ndarray, times: np.ndarray, talks: list[Talk], articulation: float) -> None:
    """Move the mouth with own talk; without talk the lips stay together."""
    phonemes = sorted(phoneme for talk in talks for phoneme in talk.phonemes())
    mouth = mouth_track(phonemes, times, articulation)
    for index, name in enumerate(CHANNELS):
        controls[:, COLUMN[name]] += mouth[:, index]


def sample(controls: np.ndarray, times: np.ndarray, frame_times: np.ndarray) -> np.ndarray:
    """Return float32 controls (T, K) at the frames, inside their ranges."""
    sampled = np.stack([np.interp(frame_times, times, column) for column in controls.T], axis=1)
    for index, name in enumerate(CONTROLS):
        high = LIMITS.get(name, 1.0)
        low = 0.0 if name in UNSIGNED else -high
        sampled[:, index] = np.clip(sampled[:, index], low, high)
    return sampled.astype(np.float32)
