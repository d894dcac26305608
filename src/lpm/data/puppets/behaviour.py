"""The published rule of behaviour: every probability, lag and duration of the puppets' conversations.

Reactions follow the partner's cues with a log-normal lag, so the best possible contingency of a listener is known.
Orders of magnitude follow Stivers et al. 2009 (gaps between turns of about 0.2 s), Ward & Tsukahara 2000 (back-channels
some 0.3 to 0.7 s after the cue) and VanderWerf et al. 2003 (blinks).
"""

from __future__ import annotations

from dataclasses import dataclass, field

EMOTIONS = ("happy", "sad", "angry", "surprised", "afraid", "disgusted", "contemptuous", "sleepy")
CUES = ("phrase_end", "turn_end", "question", "energy_peak")
REACTIONS = ("nod", "smile", "brow_raise", "gaze_shift", "tilt")


def _reaction_probabilities() -> dict[str, dict[str, float]]:
    return {
        "phrase_end": {"nod": 0.6, "smile": 0.2, "gaze_shift": 0.2, "tilt": 0.1},
        "turn_end": {"nod": 0.55, "smile": 0.35, "brow_raise": 0.15},
        "question": {"brow_raise": 0.8, "tilt": 0.35},
        "energy_peak": {"nod": 0.25, "brow_raise": 0.3},
    }


@dataclass(frozen=True)
class Rule:
    """Parameters of the conversation; seconds, probabilities and events a second.

    Attributes:
        first_word: range of the silence before the first word.
        turn_sentences: probabilities of 1, 2, 3 sentences in a turn.
        question_share, exclamation_share: kinds of sentences.
        pause_median, pause_spread: log-normal pause between sentences of one turn.
        gap_mean, gap_deviation, gap_limits: normal gap between turns; negative is an overlap.
        interruption: probability that a turn of the partner begins inside the last sentence of a turn.
        interruption_point: where in that sentence, as a share of its length.
        stop_delay: range of the time the interrupted speaker needs to stop.
        backchannel: probability of a murmur after a phrase end of the partner.
        backchannel_gain: its loudness against plain speech.
        reaction: probability of each reaction by cue of the partner.
        lag_median, lag_spread, lag_limits: log-normal lag from cue to the onset of a reaction or murmur.
        refractory: shortest time between two reactions of one kind.
        nod_counts: probabilities of 1, 2, 3 nods; nod_size: range of the first in degrees; nod_period: of each;
        nod_decay: size of a nod against the one before.
        gesture_floor: size of reactions when ``motion`` is 0; they grow to 1 at ``motion`` 1.
        beat: probability that a stressed syllable carries a head beat and a brow raise.
        aversion: probability that a speaker looks away at the start of a turn; aversion_seconds: range.
        blink_rate, blink_refractory: Poisson process; blink_close, blink_hold, blink_open: lid times.
        blink_at_phrase_end: probability of a further blink after one's own phrase end.
        breath_rate: breaths a second.
        merge_gap: silences up to this long count as listening; in longer ones, the middle is idle.
        neutral_share: probability of a neutral mood; emotion_intensity: range otherwise.
        speaking_smile: what is left of mouth emotions during speech, so that lips stay legible.
        acting_share: probability that a monologue or an idle scene has a timeline of actions.
    """

    first_word: tuple[float, float] = (0.05, 0.6)
    turn_sentences: tuple[float, ...] = (0.5, 0.35, 0.15)
    question_share: float = 0.3
    exclamation_share: float = 0.25
    pause_median: float = 0.35
    pause_spread: float = 0.4
    gap_mean: float = 0.22
    gap_deviation: float = 0.25
    gap_limits: tuple[float, float] = (-0.5, 1.2)
    interruption: float = 0.12
    interruption_point: tuple[float, float] = (0.4, 0.8)
    stop_delay: tuple[float, float] = (0.2, 0.6)
    backchannel: float = 0.2
    backchannel_gain: float = 0.6
    reaction: dict[str, dict[str, float]] = field(default_factory=_reaction_probabilities)
    lag_median: float = 0.35
    lag_spread: float = 0.35
    lag_limits: tuple[float, float] = (0.15, 1.2)
    refractory: float = 0.9
    nod_counts: tuple[float, ...] = (0.4, 0.4, 0.2)
    nod_size: tuple[float, float] = (7.0, 12.0)
    nod_period: float = 0.38
    nod_decay: float = 0.65
    gesture_floor: float = 0.6
    beat: float = 0.45
    aversion: float = 0.5
    aversion_seconds: tuple[float, float] = (0.5, 1.1)
    blink_rate: float = 0.28
    blink_refractory: float = 0.7
    blink_close: float = 0.07
    blink_hold: float = 0.03
    blink_open: float = 0.16
    blink_at_phrase_end: float = 0.35
    breath_rate: float = 0.25
    merge_gap: float = 0.8
    neutral_share: float = 0.35
    emotion_intensity: tuple[float, float] = (0.5, 1.0)
    speaking_smile: float = 0.6
    acting_share: float = 0.5


RULE = Rule()


@dataclass(frozen=True)
class Mood:
    """How an emotion at intensity 1 looks (control values) and sounds (words a minute, pitch, pitch range)."""

    face: dict[str, float]
    rate: int = 0
    pitch: int = 0
    pitch_range: int = 0
    word: str = ""


MOODS = {
    "neutral": Mood({}, word="neutral"),
    "happy": Mood({"smile": 0.75, "brow": 0.15, "eyelid": 0.2}, 10, 6, 20, "happy"),
    "sad": Mood(
        {"smile": -0.6, "brow": -0.1, "frown": 0.35, "eyelid": 0.15, "pitch": 4.0, "gaze_y": 0.2}, -25, -6, -20, "sad"
    ),
    "angry": Mood({"smile": -0.4, "brow": -0.7, "frown": 0.9, "eyelid": 0.3, "sneer": 0.15}, 15, 4, 15, "angry"),
    "surprised": Mood({"brow": 0.8, "eyelid": -0.6}, 5, 10, 25, "surprised"),
    "afraid": Mood({"smile": -0.25, "brow": 0.55, "frown": 0.45, "eyelid": -0.55, "width": 0.3}, 20, 10, -5, "afraid"),
    "disgusted": Mood(
        {"smile": -0.35, "brow": -0.3, "frown": 0.5, "eyelid": 0.35, "sneer": 0.9}, -10, -4, 0, "disgusted"
    ),
    "contemptuous": Mood({"smirk": 0.8, "brow": 0.1, "eyelid": 0.3, "pitch": -3.0}, -10, -4, -5, "contemptuous"),
    "sleepy": Mood({"brow": -0.2, "eyelid": 0.7, "pitch": 4.0, "smile": -0.1}, -30, -8, -25, "sleepy"),
}


@dataclass(frozen=True)
class Manner:
    """A personality: factors on head motion, on reaction probability and on looking away."""

    motion: float = 1.0
    reaction: float = 1.0
    aversion: float = 1.0


MANNERS = {
    "lively": Manner(motion=1.3, reaction=1.2),
    "calm": Manner(motion=0.7, reaction=0.9),
    "attentive": Manner(reaction=1.3, aversion=0.5),
    "shy": Manner(motion=0.8, reaction=0.8, aversion=1.7),
    "reserved": Manner(motion=0.6, reaction=0.5),
    "friendly": Manner(reaction=1.1),
}
