"""Training pictures for the reader: random puppets in random poses, drawn once into memory-mapped arrays."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from lpm.data.puppets.controls import COLUMN, neutral
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.perform import perform

SIZE = 96
FIRST_SEED = 1_000_000_000  # the pool's identities and scenes are never those of a corpus or a test
STYLE_SHARES = {"clean": 0.76, "flat": 0.08, "sketch": 0.08, "textured": 0.08}
NEGATIVE_SHARE = 0.06
BROAD = {
    "yaw": (-40, 40),
    "pitch": (-20, 20),
    "roll": (-25, 25),
    "x": (-0.12, 0.12),
    "y": (-0.08, 0.08),
    "lean": (-0.1, 0.15),
    "gaze_x": (-1, 1),
    "gaze_y": (-1, 1),
    "eyelid": (-0.8, 0.8),
    "brow": (-1, 1),
    "frown": (0, 1),
    "smile": (-1, 1),
    "smirk": (-1, 1),
    "sneer": (0, 1),
    "aperture": (0, 1),
    "width": (-1, 1),
    "round": (0, 1),
    "tongue": (0, 1),
    "breath": (-1, 1),
}
STIR = {"yaw": 4.0, "pitch": 2.5, "roll": 2.5, "x": 0.02, "y": 0.01, "lean": 0.02}
STIR |= {"brow": 0.1, "smile": 0.25, "width": 0.2, "eyelid": 0.1, "gaze_x": 0.35, "gaze_y": 0.35}


@dataclass(frozen=True)
class PoolSpec:
    """What the pool holds: ``identities`` people with ``frames`` poses each, drawn from ``seed``."""

    identities: int = 8_000
    frames: int = 14
    seed: int = 0


@dataclass(frozen=True)
class Pool:
    """N labelled pictures: uint8 RGB (N, 96, 96, 3), controls (N, K), identity (N, I) and readable (N,)."""

    pictures: np.ndarray
    controls: np.ndarray
    identity: np.ndarray
    readable: np.ndarray


def draw_pool(folder: Path, spec: PoolSpec, workers: int) -> Pool:
    """Draw the pool into ``folder``, or open the one that is there if it has the same spec."""
    card = folder / "pool.json"
    if not card.exists() or json.loads(card.read_text()) != asdict(spec):
        folder.mkdir(parents=True, exist_ok=True)
        seeds = np.array_split(np.arange(spec.identities), max(1, spec.identities // 100))
        draw = partial(draw_people, spec=spec, poses=performed_poses(spec.seed))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
            parts = list(processes.map(draw, seeds))
        for name in ("pictures", "controls", "identity", "readable"):
            np.save(folder / f"{name}.npy", np.concatenate([getattr(part, name) for part in parts]))
        card.write_text(json.dumps(asdict(spec)))
    names = ("pictures", "controls", "identity", "readable")
    return Pool(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


def draw_people(people: np.ndarray, spec: PoolSpec, poses: np.ndarray) -> Pool:
    """Draw all pictures of some people; a small share are rear or side views, which count as unreadable."""
    pictures, controls, identities, readable = [], [], [], []
    for index in people.tolist():
        random = np.random.default_rng([spec.seed, index])
        identity = sample_identity(FIRST_SEED + index)
        style = str(random.choice(list(STYLE_SHARES), p=list(STYLE_SHARES.values())))
        puppet = Puppet(identity, size=SIZE, style=style, framing=float(random.uniform(0.95, 1.5)))
        seen = random.uniform() >= NEGATIVE_SHARE
        rows = draw_poses(random, spec.frames, poses)
        view = "front" if seen else str(random.choice(("rear", "rear", "left", "right")))
        pictures.append(puppet.render(rows, view=view))
        controls.append(rows)
        identities.append(np.tile(identity.vector(), (spec.frames, 1)))
        readable.append(np.full(spec.frames, seen))
    return Pool(*(np.concatenate(part) for part in (pictures, controls, identities, readable)))


def draw_poses(random: np.random.Generator, count: int, poses: np.ndarray) -> np.ndarray:
    """Draw controls (count, K): half of them performed and stirred a little, half far beyond what is performed."""
    broad = neutral(count)
    for name, (low, high) in BROAD.items():
        used = random.uniform(size=count) < 0.7
        broad[:, COLUMN[name]] = np.where(used, random.uniform(low, high, count), 0)
    closed = np.where(random.uniform(size=count) < 0.4, random.uniform(0, 1, count), 0)
    one_eye = random.uniform(size=(count, 2)) < 0.15
    broad[:, COLUMN["blink_l"]] = np.where(one_eye[:, 0], random.uniform(0, 1, count), closed)
    broad[:, COLUMN["blink_r"]] = np.where(one_eye[:, 1], random.uniform(0, 1, count), closed)
    lively = poses[random.integers(len(poses), size=count)].copy()
    for name, deviation in STIR.items():
        lively[:, COLUMN[name]] += random.normal(0, deviation, count)
    blinking = random.uniform(size=count) < 0.15
    for name in ("blink_l", "blink_r"):
        lively[:, COLUMN[name]] = np.where(blinking, closed, lively[:, COLUMN[name]])
    return np.where(random.uniform(size=(count, 1)) < 0.5, broad, lively).astype(np.float32)


def performed_poses(seed: int, scenes: int = 150, seconds: float = 6.0) -> np.ndarray:
    """Return the controls of many performed scenes, (N, K)."""
    kinds = ("conversation", "speak", "listen", "idle", "speak", "sing")
    played = [perform(FIRST_SEED + 1000 * seed + i, seconds, kind=kinds[i % len(kinds)]) for i in range(scenes)]
    return np.concatenate([person.controls for scene in played for person in scene.people])
