"""Who says what and when: the stochastic plan of a two-person scene."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lpm.data.puppets.behaviour import MOODS, RULE
from lpm.data.puppets.espeak import SAMPLE_RATE, Phoneme, Utterance
from lpm.data.puppets.language import Voice, grammar, say, sentence
from lpm.data.puppets.sing import sing

FADE = 0.04  # seconds in which an interrupted voice falls silent
PEAK_WINDOW = 0.1  # seconds over which energy is averaged to find its peak
PEAK_PHRASE = 0.6  # seconds a phrase needs to have an energy peak


@dataclass(frozen=True)
class Speaker:
    """One side of a scene: voice, emotion with intensity in [0, 1], manner, and the split of its sentences."""

    voice: Voice
    emotion: str
    intensity: float
    manner: str
    split: str


@dataclass(frozen=True)
class Talk:
    """An utterance placed in the scene.

    Attributes:
        person: 0 or 1.
        start: seconds from the scene's start.
        stop: when it ends, earlier than the utterance if it was interrupted.
        utterance: what is said.
        kind: "statement", "question", "exclamation", "song" or "backchannel".
        ends_turn: True for the last one of a turn.
    """

    person: int
    start: float
    stop: float
    utterance: Utterance
    kind: str
    ends_turn: bool = False

    @property
    def interrupted(self) -> bool:
        """True if the partner cut it short."""
        return self.stop < self.start + self.utterance.phrase_ends[-1] - 1e-6

    def phonemes(self) -> list[Phoneme]:
        """Return the sounds in scene time, cut where the talk stops."""
        placed = [Phoneme(p.start + self.start, p.end + self.start, p.ipa) for p in self.utterance.phonemes]
        return [p._replace(end=min(p.end, self.stop)) for p in placed if p.start < self.stop]


@dataclass(frozen=True)
class Cue:
    """A moment the partner may react to: seconds and one of ``CUES``."""

    t: float
    kind: str


def converse(rng: np.random.Generator, seconds: float, speakers: tuple[Speaker, Speaker]) -> list[Talk]:
    """Plan alternating turns with gaps, overlaps, interruptions and back-channels until the scene ends."""
    talks: list[Talk] = []
    person, moment = int(rng.integers(2)), rng.uniform(*RULE.first_word)
    while moment < seconds:
        turn = _turn(rng, moment, seconds, person, speakers[person])
        turn[-1] = replace(turn[-1], ends_turn=True)
        last = turn[-1]
        if rng.random() < RULE.interruption:
            entry = last.start + rng.uniform(*RULE.interruption_point) * (last.stop - last.start)
            turn[-1] = replace(last, stop=min(last.stop, entry + rng.uniform(*RULE.stop_delay)))
            moment = entry
        else:
            moment = last.stop + float(np.clip(rng.normal(RULE.gap_mean, RULE.gap_deviation), *RULE.gap_limits))
        talks += turn
        person = 1 - person
    return murmur(rng, talks, seconds, speakers)


def monologue(rng: np.random.Generator, seconds: float, speakers: tuple[Speaker, Speaker], person: int) -> list[Talk]:
    """Plan one person's sentences with pauses; the other only murmurs."""
    moment = rng.uniform(*RULE.first_word)
    talks: list[Talk] = []
    while moment < seconds:
        talks += _turn(rng, moment, seconds, person, speakers[person])
        moment = talks[-1].stop + _pause(rng)
    return murmur(rng, talks, seconds, speakers)


def perform_song(
    rng: np.random.Generator, seconds: float, speakers: tuple[Speaker, Speaker], person: int
) -> list[Talk]:
    """Plan sung phrases by one person."""
    moment = rng.uniform(*RULE.first_word)
    talks: list[Talk] = []
    low_voice = speakers[person].voice.pitch < 52
    while moment < seconds:
        song = sing(rng, min(seconds - moment + 0.5, rng.uniform(2.5, 5.0)), 130.0 if low_voice else 230.0)
        talks.append(Talk(person, moment, moment + song.phrase_ends[-1], song, "song"))
        moment = talks[-1].stop + _pause(rng)
    return talks


def murmur(
    rng: np.random.Generator, talks: list[Talk], seconds: float, speakers: tuple[Speaker, Speaker]
) -> list[Talk]:
    """Add the listener's back-channels after phrase ends, where the listener has no turn of its own near."""
    added: list[Talk] = []
    for talk in talks:
        listener = 1 - talk.person
        for cue in phrase_ends(talk):
            if talk.kind == "question" or rng.random() >= RULE.backchannel:
                continue
            start = cue + sample_lag(rng)
            words = grammar(speakers[listener].voice.language).backchannels
            said = _say(words[rng.integers(len(words))], speakers[listener], RULE.backchannel_gain)
            stop = start + said.phrase_ends[-1]
            own = [t for t in (*talks, *added) if t.person == listener]
            if start < seconds and all(stop + 0.3 < t.start or t.stop + 0.3 < start for t in own):
                added.append(Talk(listener, start, stop, said, "backchannel"))
    return sorted(talks + added, key=lambda talk: talk.start)


def sample_lag(rng: np.random.Generator) -> float:
    """Draw the seconds from a cue to a reaction."""
    return float(np.clip(RULE.lag_median * np.exp(rng.normal(0, RULE.lag_spread)), *RULE.lag_limits))


def phrase_ends(talk: Talk) -> list[float]:
    """Return the ends of finished phrases in scene time."""
    ends = [talk.start + end for end in talk.utterance.phrase_ends]
    return [end for end in ends if end <= talk.stop + 1e-6]


def cues(talks: list[Talk], person: int) -> list[Cue]:
    """Return the cues a person's talk offers, in order of time; murmurs offer none."""
    found: list[Cue] = []
    for talk in (t for t in talks if t.person == person and t.kind != "backchannel"):
        ends = phrase_ends(talk)
        found += [Cue(end, "phrase_end") for end in ends]
        if ends and not talk.interrupted:
            found += [Cue(ends[-1], "question")] * (talk.kind == "question")
            found += [Cue(ends[-1], "turn_end")] * talk.ends_turn
        found += [Cue(talk.start + peak, "energy_peak") for peak in _energy_peaks(talk)]
    return sorted(found, key=lambda cue: cue.t)


def waveform(talks: list[Talk], person: int, seconds: float) -> np.ndarray:
    """Mix a person's talk into float32 samples at 16 kHz; interrupted talk fades out before its stop."""
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for talk in (t for t in talks if t.person == person):
        first = round(talk.start * SAMPLE_RATE)
        piece = talk.utterance.samples
        if talk.interrupted:
            piece = piece[: round((talk.stop - talk.start) * SAMPLE_RATE)].copy()
            fade = min(len(piece), round(FADE * SAMPLE_RATE))
            piece[len(piece) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        piece = piece[: max(0, len(samples) - first)]
        samples[first : first + len(piece)] += piece
    return np.clip(samples, -1, 1)


def turns(talks: list[Talk], person: int) -> list[tuple[float, float]]:
    """Return when a person holds the floor: sentences of one turn with the pauses between them."""
    joined: list[tuple[float, float]] = []
    open_turn = False
    for talk in (t for t in talks if t.person == person and t.kind != "backchannel"):
        if open_turn:
            joined[-1] = (joined[-1][0], talk.stop)
        else:
            joined.append((talk.start, talk.stop))
        open_turn = not talk.ends_turn
    return joined


def murmurs(talks: list[Talk], person: int) -> list[tuple[float, float]]:
    """Return the spans of a person's back-channels."""
    return [(talk.start, talk.stop) for talk in talks if talk.person == person and talk.kind == "backchannel"]


def _turn(rng: np.random.Generator, start: float, seconds: float, person: int, speaker: Speaker) -> list[Talk]:
    talks: list[Talk] = []
    for _ in range(1 + int(rng.choice(len(RULE.turn_sentences), p=RULE.turn_sentences))):
        draw = rng.random()
        kind = "statement"
        if draw < RULE.question_share:
            kind = "question"
        elif draw < RULE.question_share + RULE.exclamation_share:
            kind = "exclamation"
        said = _say(sentence(speaker.voice.language, rng, speaker.split, kind, speaker.emotion), speaker)
        talks.append(Talk(person, start, start + said.phrase_ends[-1], said, kind))
        start = talks[-1].stop + _pause(rng)
        if start >= seconds:
            break
    return talks


def _pause(rng: np.random.Generator) -> float:
    return float(RULE.pause_median * np.exp(rng.normal(0, RULE.pause_spread)))


def _say(text: str, speaker: Speaker, gain: float = 1.0) -> Utterance:
    mood, strength = MOODS[speaker.emotion], speaker.intensity
    voice = replace(speaker.voice, gain=speaker.voice.gain * gain)
    changes = (round(change * strength) for change in (mood.rate, mood.pitch, mood.pitch_range))
    return say(text, voice, *changes)


def _energy_peaks(talk: Talk) -> list[float]:
    """Return the loudest moment of each phrase that is long enough, in utterance time."""
    edges = [talk.utterance.phonemes[0].start, *talk.utterance.phrase_ends]
    window = round(PEAK_WINDOW * SAMPLE_RATE)
    total = np.concatenate([[0.0], np.cumsum(talk.utterance.samples.astype(np.float64) ** 2)])
    peaks = []
    for first, last in zip(edges, edges[1:], strict=False):
        if last - first < PEAK_PHRASE or talk.start + last > talk.stop + 1e-6:
            continue
        starts = np.arange(round(first * SAMPLE_RATE), round(last * SAMPLE_RATE) - window, 80)
        peaks.append(float((starts[np.argmax(total[starts + window] - total[starts])] + window / 2) / SAMPLE_RATE))
    return peaks
