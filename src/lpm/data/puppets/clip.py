"""One clip of the corpus: a performance drawn, encoded and described as the files of one WebDataset sample."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from lpm.data.audio import wav_bytes
from lpm.data.puppets.controls import CONTROLS
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.identity import IDENTITY_NAMES, Identity, sample_identity
from lpm.data.puppets.perform import Scene, perform
from lpm.data.puppets.plan import ClipPlan, CorpusSpec, derived_seed
from lpm.data.puppets.references import Reference, draw_references, subset, telling
from lpm.data.puppets.reveal import PROMPTS, SMILES, break_into_smile, own_smile, smile_own_way, turn_of
from lpm.data.puppets.summary import describe
from lpm.data.puppets.voice import voice_seed
from lpm.data.schema import SCHEMA_VERSION, frames_to_states
from lpm.data.video import encode_video

LICENCE = "CC0-1.0"
SENTENCES = {"train": "train", "seen": "val", "val": "val", "test": "test"}  # split of the clip -> of what is said


def make_clip(clip: ClipPlan, spec: CorpusSpec) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files of one sample by suffix, and its row for the corpus card.

    Person 0 of the scene is drawn; `speak.wav` is that person's own voice and `listen.wav` the partner's.
    """
    identity = sample_identity(clip.identity)
    scene = reveal(play(clip, spec, identity), clip, spec)
    person, partner = scene.people
    puppet = Puppet(identity, size=spec.size, style=clip.style, framing=spec.framing)
    turn_T = turn_of(clip.reveal, clip.seed, spec.frames, spec.fps)
    video_THWC = puppet.render(person.controls, turn_T=turn_T)
    random = np.random.default_rng(derived_seed(clip.seed, "references"))
    choose, smile_K = (telling if clip.reveal else subset), smile_of(clip, spec)
    references = draw_references(puppet, clip.style, person.controls[0], random, choose, smile_K)
    meta = metadata(clip, spec, identity, scene, references)
    files = {
        "mp4": encode_video(video_THWC, spec.fps),
        "speak.wav": wav_bytes(person.voice),
        "listen.wav": wav_bytes(partner.voice),
        "truth.npz": truth_bytes(person.controls, turn_T if spec.reveals else None),
        "json": json.dumps(meta, ensure_ascii=False, sort_keys=True).encode(),
    } | {f"ref.{i:02d}.png": png_bytes(reference.image) for i, reference in enumerate(references)}
    lags = [event["lag"] for event in person.events if "lag" in event]
    sentences = [said["text"] for said in scene.texts if said["kind"] != "backchannel"]
    return files, describe(meta, person.controls, sentences, lags)


def play(clip: ClipPlan, spec: CorpusSpec, identity: Identity) -> Scene:
    """Perform the clip's scene: the character keeps its voice from clip to clip, the partner is a stranger."""
    return perform(
        clip.seed,
        spec.frames / spec.fps,
        fps=spec.fps,
        kind=clip.kind,
        motion=spec.motion,
        language=clip.language,
        split=SENTENCES[clip.split],
        voice_seeds=(voice_seed(clip.identity, identity), derived_seed(clip.seed, "partner")),
    )


def smile_of(clip: ClipPlan, spec: CorpusSpec) -> np.ndarray | None:
    """Return the controls (K,) of the character's own smile, None in a corpus where all smile alike."""
    return own_smile(clip.identity) if any(map(spec.reveals.get, SMILES)) else None


def reveal(scene: Scene, clip: ClipPlan, spec: CorpusSpec) -> Scene:
    """Return the scene with what the clip reveals in the mouth and the caption of person 0; who turns is drawn so."""
    person, smile_K = scene.people[0], smile_of(clip, spec)
    controls = person.controls
    if clip.reveal in SMILES:
        controls = break_into_smile(controls, spec.fps, at_once=clip.reveal == "smile_cut")
    controls = controls if smile_K is None else smile_own_way(controls, smile_K)
    caption = f"{PROMPTS[clip.reveal]} {person.caption}" if clip.reveal else person.caption
    return replace(scene, people=(replace(person, controls=controls, caption=caption), scene.people[1]))


def metadata(
    clip: ClipPlan, spec: CorpusSpec, identity: Identity, scene: Scene, references: list[Reference]
) -> dict[str, Any]:
    """Return the `json` of a sample, as `lpm.data.schema` describes it."""
    person = scene.people[0]
    return {
        "schema_version": SCHEMA_VERSION,
        "key": clip.key,
        "split": clip.split,
        "identity": f"puppet-{clip.identity}",
        "fps": spec.fps,
        "frames": len(person.controls),
        "width": spec.size,
        "height": spec.size,
        "states": frames_to_states(person.states),
        "caption": person.caption,
        "events": person.events,
        "actions": person.actions,
        "references": [
            {"file": f"ref.{i:02d}.png", "kind": found.kind, "sub_kind": found.sub_kind, "box": list(found.box)}
            for i, found in enumerate(references)
        ],
        "tags": tags(clip, spec, identity, scene) | ({"reveal": clip.reveal} if spec.reveals else {}),
        "source": f"lpm.data.puppets seed {spec.seed}",
        "licence": LICENCE,
        "scores": {},
    }


def tags(clip: ClipPlan, spec: CorpusSpec, identity: Identity, scene: Scene) -> dict[str, Any]:
    """Return who and what is seen and heard, for filters and for metrics."""
    person = scene.people[0]
    return {
        "kind": clip.kind,
        "style": clip.style,
        "view": "front",
        "framing": spec.framing,
        "motion": spec.motion,
        "voice": person.voice_name,
        "language": person.language,
        "emotion": person.emotion,
        "intensity": round(person.intensity, 4),
        "manner": person.manner,
        "base_caption": person.base_caption,
        "transcript": [{**said, "t0": round(said["t0"], 4), "t1": round(said["t1"], 4)} for said in scene.texts],
        "identity_seed": clip.identity,
        "identity_names": list(IDENTITY_NAMES),
        "identity_vector": [round(float(value), 5) for value in identity.vector()],
    }


def png_bytes(image_HWC: np.ndarray) -> bytes:
    """Encode an RGB image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def truth_bytes(controls_TK: np.ndarray, turn_T: np.ndarray | None = None) -> bytes:
    """Encode controls and their names, and the turn of the whole character if given, as npz.

    numpy dates its entries 1980, so equal arrays give equal bytes.
    """
    names = list(CONTROLS)
    if turn_T is not None:
        controls_TK, names = np.column_stack([controls_TK, turn_T]).astype(np.float32), [*names, "turn"]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, controls=controls_TK, names=np.array(names))
    return buffer.getvalue()
