"""A performed scene: two characters' controls, voices, states, events and captions from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpm.data.puppets import actor, prompt
from lpm.data.puppets.behaviour import EMOTIONS, MANNERS, RULE
from lpm.data.puppets.controls import neutral
from lpm.data.puppets.conversation import (
    Cue,
    Speaker,
    Talk,
    converse,
    cues,
    monologue,
    murmurs,
    perform_song,
    turns,
    waveform,
)
from lpm.data.puppets.espeak import seed_engine
from lpm.data.puppets.language import MAIN_LANGUAGES, grammar, sample_voice
from lpm.data.puppets.listener import Reaction, act, react
from lpm.data.puppets.viseme import REACH

KINDS = ("conversation", "speak", "listen", "idle", "sing")
SPEAKING, LISTENING, IDLE = 0, 1, 2
ACTING_KINDS = ("speak", "sing", "idle")  # only here is person 0 free to follow a timeline
CONTROL_RATE = 200  # control points a second before sampling at the frames


@dataclass(frozen=True)
class Performance:
    """One character in a scene.

    Attributes:
        controls: float32 (T, K) at times i / fps, columns ``CONTROLS``.
        voice: the character's own audio, float32 in [-1, 1] at 16 kHz, exactly as long as the scene.
        states: int8 (T,), 0 speaking, 1 listening, 2 idle.
        events: dicts with ``t`` and ``type`` in order of time; ``who`` is "self" or "partner". Cues of both people
            (phrase_end, turn_end, question, energy_peak, turn_start, interruption, backchannel) and own reactions
            (nod, smile, brow_raise, gaze_shift, tilt) with ``cue``, ``cue_t``, ``lag``, ``size``, ``count``.
        caption: the whole prompt; base_caption: without the actions.
        actions: timeline of checkable actions.
        emotion, intensity, manner, language, voice_name: what was drawn.
    """

    controls: np.ndarray
    voice: np.ndarray
    states: np.ndarray
    events: list[dict]
    caption: str
    base_caption: str
    actions: list[dict]
    emotion: str
    intensity: float
    manner: str
    language: str
    voice_name: str


@dataclass(frozen=True)
class Scene:
    """Two performances over the same time."""

    people: tuple[Performance, Performance]
    seconds: float
    fps: float
    kind: str
    seed: int
    texts: list[dict]


def perform(
    seed: int,
    seconds: float,
    fps: float = 24.0,
    kind: str = "conversation",
    motion: float = 1.0,
    language: str | None = None,
    split: str = "train",
    actions: int | None = None,
    voice_seeds: tuple[int, int] | None = None,
) -> Scene:
    """Perform a scene of two characters.

    Equal seeds give equal scenes in fresh processes that make the same calls in the same order; inside one process
    espeak-ng's state carries over, and repeated scenes differ by milliseconds and in the phase of the waveforms.

    Args:
        seed: everything follows from it.
        seconds: length, at least 1.
        fps: frames a second, 1 to 120; there are ``round(seconds * fps)`` frames, frame i at i / fps.
        kind: "conversation", or what person 0 does: "speak", "listen", "idle", "sing".
        motion: head motion, 0 still, 0.25 mild, 1 free, at most 2.
        language: key of ``LANGUAGES``; None draws English or Mandarin.
        split: sentences of "train", "val" or "test".
        actions: requested actions of person 0 in speak, sing and idle scenes; None draws.
        voice_seeds: fixes each person's voice, so that a character keeps it from scene to scene.
    """
    _validate(seconds, fps, kind, motion, language)
    seed_engine(seed)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    language = language or str(rng.choice(MAIN_LANGUAGES))
    speakers = _cast(rng, language, split, voice_seeds)
    talks = _plan(rng, seconds, kind, speakers)
    count = _action_count(rng, kind) if actions is None else actions * (kind in ACTING_KINDS)
    timeline = prompt.plan_actions(rng, seconds, count, speakers[0].emotion, speakers[0].intensity)
    script = _Script(kind, seconds, fps, motion, speakers, talks, (cues(talks, 0), cues(talks, 1)), (timeline, []))
    first, second = (
        _person(np.random.default_rng([seed, KINDS.index(kind), 1 + person]), script, person) for person in (0, 1)
    )
    texts = [{"person": t.person, "t0": t.start, "t1": t.stop, "text": t.utterance.text, "kind": t.kind} for t in talks]
    return Scene((first, second), seconds, fps, kind, seed, texts)


@dataclass(frozen=True)
class _Script:
    """What both people of a scene act by; ``cues`` and ``timelines`` are by person."""

    kind: str
    seconds: float
    fps: float
    motion: float
    speakers: tuple[Speaker, Speaker]
    talks: list[Talk]
    cues: tuple[list[Cue], list[Cue]]
    timelines: tuple[list[dict], list[dict]]


def _validate(seconds: float, fps: float, kind: str, motion: float, language: str | None) -> None:
    if not seconds >= 1:
        raise ValueError(f"a scene of {seconds} s is too short; ask for 1 s or more")
    if not 1 <= fps <= 120:
        raise ValueError(f"{fps} frames a second is outside 1 to 120; choose a rate between them")
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    if not 0 <= motion <= 2:
        raise ValueError(f"motion of {motion} is outside 0 to 2; 0.25 is mild, 1 is free")
    if language is not None:
        grammar(language)


def _cast(
    rng: np.random.Generator, language: str, split: str, voice_seeds: tuple[int, int] | None
) -> tuple[Speaker, Speaker]:
    speakers = []
    for person in (0, 1):
        drawn = int(rng.integers(2**31))
        voice_rng = np.random.default_rng(drawn if voice_seeds is None else voice_seeds[person])
        neutral_mood = rng.random() < RULE.neutral_share
        emotion, intensity = str(rng.choice(EMOTIONS)), float(rng.uniform(*RULE.emotion_intensity))
        emotion, intensity = ("neutral", 0.0) if neutral_mood else (emotion, intensity)
        manner = str(rng.choice(list(MANNERS)))
        speakers.append(Speaker(sample_voice(language, voice_rng), emotion, intensity, manner, split))
    return speakers[0], speakers[1]


def _plan(rng: np.random.Generator, seconds: float, kind: str, speakers: tuple[Speaker, Speaker]) -> list[Talk]:
    match kind:
        case "conversation":
            return converse(rng, seconds, speakers)
        case "speak":
            return monologue(rng, seconds, speakers, 0)
        case "listen":
            return monologue(rng, seconds, speakers, 1)
        case "sing":
            return perform_song(rng, seconds, speakers, 0)
    return []


def _action_count(rng: np.random.Generator, kind: str) -> int:
    wanted = rng.random() < RULE.acting_share
    count = int(rng.integers(1, 4))
    return count if wanted and kind in ACTING_KINDS else 0


def _person(rng: np.random.Generator, script: _Script, person: int) -> Performance:
    speaker, timeline = script.speakers[person], script.timelines[person]
    manner = MANNERS[speaker.manner]
    floor = turns(script.talks, person)
    reactions = react(rng, script.cues[1 - person], floor, script.seconds, manner)
    own = [talk for talk in script.talks if talk.person == person]
    times = np.arange(-10, round(script.seconds * CONTROL_RATE) + 10) / CONTROL_RATE
    controls = neutral(len(times)).astype(np.float64)
    actor.hold_mood(controls, times, rng, speaker, own)
    actor.move_head(controls, times, rng, script.motion * manner.motion)
    actor.look_around(controls, times, rng, floor, manner.aversion, script.motion)
    actor.beat(controls, times, rng, own, script.motion)
    act(controls, times, reactions, script.motion)
    actor.blink_often(controls, times, rng, [cue.t for cue in script.cues[person] if cue.kind == "phrase_end"])
    prompt.act_timeline(controls, times, timeline)
    actor.speak(controls, times, own, articulation=rng.uniform(0.9, 1.05))
    frame_times = np.arange(round(script.seconds * script.fps)) / script.fps
    spoken = grammar(speaker.voice.language).name
    state = _describe_as(script.kind, person)
    caption = prompt.describe(state, speaker.emotion, speaker.intensity, speaker.manner, spoken)
    return Performance(
        controls=actor.sample(controls, times, frame_times),
        voice=waveform(script.talks, person, script.seconds),
        states=_states(script.talks, person, frame_times),
        events=_events(script, person, reactions),
        caption=prompt.with_timeline(caption, timeline),
        base_caption=caption,
        actions=timeline,
        emotion=speaker.emotion,
        intensity=speaker.intensity,
        manner=speaker.manner,
        language=speaker.voice.language,
        voice_name=speaker.voice.name,
    )


def _describe_as(kind: str, person: int) -> str:
    """Return what a person does in a scene of this kind; person 0 names the kind."""
    partner = {"conversation": "conversation", "speak": "listen", "listen": "speak", "idle": "idle", "sing": "listen"}
    return kind if person == 0 else partner[kind]


def _states(talks: list[Talk], person: int, times: np.ndarray) -> np.ndarray:
    """Label frames: speaking in own talk; listening in the partner's and in short silences; idle otherwise."""
    own = turns(talks, person) + murmurs(talks, person)
    partner = turns(talks, 1 - person)
    held = np.zeros(len(times), bool)
    near = np.zeros(len(times), bool)  # within half of a silence that is too short to be idle
    for start, stop in own + partner:
        held |= (times >= start) & (times < stop)
        near |= (times >= start - RULE.merge_gap / 2) & (times < stop + RULE.merge_gap / 2)
    states = np.where(held | near, LISTENING, IDLE).astype(np.int8)
    for start, stop in own:
        states[(times > start - REACH) & (times < stop + REACH)] = SPEAKING
    return states


def _events(script: _Script, person: int, reactions: list[Reaction]) -> list[dict]:
    """List what happens, as the person sees it."""
    events: list[dict] = []
    for other, who in ((person, "self"), (1 - person, "partner")):
        events += [{"t": cue.t, "type": cue.kind, "who": who} for cue in script.cues[other]]
        for start, _ in turns(script.talks, other):
            events.append({"t": start, "type": "turn_start", "who": who})
        for talk in (t for t in script.talks if t.person == other):
            if talk.kind == "backchannel":
                events.append({"t": talk.start, "type": "backchannel", "who": who, "t1": talk.stop})
            elif talk.interrupted:
                events.append({"t": talk.stop, "type": "interruption", "who": who})
    for reaction in reactions:
        detail = {"cue": reaction.cue.kind, "cue_t": reaction.cue.t, "lag": reaction.lag, "size": reaction.size}
        events.append({"t": reaction.t, "type": reaction.kind, "who": "self", "count": reaction.count, **detail})
    return sorted((event for event in events if event["t"] < script.seconds), key=lambda event: event["t"])
