"""What references fix: how near the parts that a first picture does not show come to the truth, with which references.

Clips are those of a corpus with ``CorpusSpec.reveals``: characters that turn, whose sides body views show, and
characters that break into a smile of their own, which expressions show. One model makes each clip several times, from
equal noise, and sees other references each time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from lpm.data.puppets.controls import CONTROLS
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.reveal import SMILES, away_from_front
from lpm.metric import Estimate, estimate, identity_distance
from lpm.metric.clips import identity_code
from lpm.train.frames import to_uint8
from lpm.train.measure import Clip, Performer, Reader, Reading, Report, measure_batch
from lpm.types import Batch

HIDDEN = 60.0  # degrees from the first picture on which a side counts as new
BACK, FACE = 60.0, 45.0  # degrees from the front: from there on profiles and back; up to there a face to be read
STANDS, NEUTRAL = 0.9, 0.1  # of the clip's fullest smile; most of a smile in frame 0
LEAST = 8  # frames without which a clip has no score
BOX = (0.16, 0.104)  # half width and height of the mouth's box, of the picture's side at framing 1


@dataclass
class Revealed:
    """Scores of one clip, by name of score and performer, and whose clip it is."""

    identity: str
    key: str
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


def measure_revealed(made: Mapping[str, Performer], batches: Iterable[Batch], read: Reader) -> list[Revealed]:
    """Return the scores of every clip as each performer makes it.

    Args:
        made: performers, such as ``reference_performers(model)``; ``truth`` among them.
        batches: clips of a corpus with ``reveals``, with pixels, truth and all references.
        read: pixel reader.
    """
    return [row for batch in batches for row in measure_videos(videos(made, batch), batch, read)]


@torch.no_grad()
def videos(made: Mapping[str, Performer], batch: Batch) -> dict[str, Tensor]:
    """Return the videos (B, T, 3, H, W) of a batch by performer."""
    return {name: perform(batch) for name, perform in made.items()}


def measure_videos(made: Mapping[str, Tensor], batch: Batch, read: Reader) -> list[Revealed]:
    """Return the scores of videos that are made already."""
    clips = measure_batch({name: partial(_given, video) for name, video in made.items()}, batch, read)
    pixels = {name: to_uint8(video) for name, video in made.items()}
    rows = []
    for number, clip in enumerate(clips):
        row = Revealed(clip.meta["identity"], batch.keys[number])
        for name, video_BTHWC in pixels.items():
            for score, value in score_clip(clip, name, video_BTHWC[number], pixels["truth"][number]).items():
                row.scores.setdefault(score, {})[name] = value
        rows.append(row)
    return rows


def _given(video: Tensor, batch: Batch) -> Tensor:
    return video


def score_clip(clip: Clip, name: str, made_THWC: np.ndarray, true_THWC: np.ndarray) -> dict[str, float]:
    """Return the scores of a clip as a performer made it; NaN where fewer than 8 frames reveal anything.

    Raises:
        ValueError: the clip reveals nothing.
    """
    reveal = clip.meta["tags"].get("reveal", "")
    scores = {"turn": score_turn, "cut": score_turn} | dict.fromkeys(SMILES, score_smile)
    if reveal not in scores:
        raise ValueError(
            f"clip of {clip.meta['identity']} reveals nothing; draw a corpus with reveals: {', '.join(scores)}"
        )
    return scores[reveal](clip, clip.readings[name], made_THWC, true_THWC)


def score_turn(clip: Clip, reading: Reading, made_THWC: np.ndarray, true_THWC: np.ndarray) -> dict[str, float]:
    """Return the scores of a character that turns.

    - ``back_psnr``: of profiles and back, decibels over frames whose side the first picture does not show.
    - ``face_psnr``: of a face that comes to light, decibels over frames whose side the first picture does not show.
    - ``face_identity``: distance to the character's true identity vector (``identity_distance``) on these.
    """
    back_T, face_T = revealed_sides(clip.truth["turn"].numpy())
    own, valid = np.array(clip.meta["tags"]["identity_vector"]), np.asarray(reading.valid)
    scores = dict.fromkeys(("back_psnr", "face_psnr", "face_identity"), np.nan)
    if back_T.sum() >= LEAST:
        scores["back_psnr"] = psnr(made_THWC[back_T], true_THWC[back_T])
    if face_T.sum() >= LEAST:
        scores["face_psnr"] = psnr(made_THWC[face_T], true_THWC[face_T])
        scores["face_identity"] = float(identity_distance(reading.identity[face_T], own, valid_T=valid[face_T]))
    return scores


def score_smile(clip: Clip, reading: Reading, made_THWC: np.ndarray, true_THWC: np.ndarray) -> dict[str, float]:
    """Return the scores of a character that breaks into its smile.

    - ``mouth_psnr``: of the box around the true mouth, decibels over frames on which the smile stands.
    - ``smile_error``: mean absolute difference of the smile that is read to the true one, on the same frames.
    """
    smile_T = clip.truth["smile"].numpy()
    stands_T = standing_smile(smile_T)
    if stands_T.sum() < LEAST:
        return {"mouth_psnr": np.nan, "smile_error": np.nan}
    made, true = (mouths(clip, video_THWC)[stands_T] for video_THWC in (made_THWC, true_THWC))
    error_T = np.abs(np.asarray(reading.smile) - smile_T)
    return {"mouth_psnr": psnr(made, true), "smile_error": float(error_T[stands_T].mean())}


def revealed_sides(turn_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames (T,) with profile or back, and those with a face, whose side frame 0 does not show.

    >>> back, face = revealed_sides(np.array([0.0, 50.0, 70.0, 180.0, 330.0]))
    >>> back.tolist(), face.tolist()
    ([False, False, True, True, False], [False, False, False, False, False])
    """
    new = away_from_front(turn_T - turn_T[0]) >= HIDDEN
    away = away_from_front(turn_T)
    return new & (away >= BACK), new & (away <= FACE)


def standing_smile(smile_T: np.ndarray) -> np.ndarray:
    """Return the frames (T,) on which a smile stands that the first picture does not show; none if it does."""
    return (smile_T >= STANDS * smile_T.max()) & (smile_T.max() > NEUTRAL) & (smile_T[0] <= NEUTRAL)


def mouths(clip: Clip, video_THWC: np.ndarray) -> np.ndarray:
    """Return the box around the true mouth cut out of each frame of a video of the clip, (T, h, w, 3)."""
    from lpm.data.puppets.draw import mouth_centres  # needs the extra puppets

    tags, side = clip.meta["tags"], video_THWC.shape[1]
    controls_TK = np.stack([clip.truth[name].numpy() for name in CONTROLS], axis=1)
    centres_T2 = mouth_centres(sample_identity(tags["identity_seed"]), controls_TK, side, tags["framing"])
    half = np.round(np.array(BOX) * side * tags["framing"]).astype(int)
    corners_T2 = np.clip(np.round(centres_T2 - half).astype(int), 0, side - 2 * half)
    wide, high = 2 * half
    return np.stack([frame[y : y + high, x : x + wide] for frame, (x, y) in zip(video_THWC, corners_T2, strict=True)])


def psnr(made: np.ndarray, true: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of 8-bit pictures in decibels, at most 60.

    >>> round(psnr(np.full((1, 2, 2, 3), 10, np.uint8), np.full((1, 2, 2, 3), 20, np.uint8)), 2)
    28.13
    """
    one, other = (torch.from_numpy(np.asarray(x, np.float64)) for x in (made, true))
    return min(60.0, float(peak_signal_noise_ratio(one, other, data_range=255.0)))


def summarise_revealed(rows: list[Revealed], frames: int, fps: float) -> Report:
    """Return the mean of every score by performer, with 95 % intervals over characters."""
    report = Report(len(rows), len(rows) * frames / fps)
    for score, (table, clusters) in tables(rows):
        report.scores[score] = {name: estimate(values, clusters) for name, values in table.items()}
    return report


def differences(
    rows: list[Revealed], below: str = "global", names: Iterable[str] = ("body", "expression", "all", "others")
) -> dict[str, dict[str, Estimate]]:
    """Return the mean over clips of each score less that of performer ``below`` on the same clip, with intervals."""
    return {
        score: {name: estimate(table[name] - table[below], clusters) for name in names}
        for score, (table, clusters) in tables(rows)
    }


def tables(rows: list[Revealed]) -> Iterator[tuple[str, tuple[dict[str, Tensor], Tensor]]]:
    """Yield every score with its values by performer, (N,) each, and the identities of those N clips."""
    if not rows:
        raise ValueError("no clip to measure; give a corpus with at least one clip")
    for score in dict.fromkeys(score for row in rows for score in row.scores):
        having = [row for row in rows if score in row.scores]
        table = {name: torch.tensor([row.scores[score][name] for row in having]) for name in having[0].scores[score]}
        yield score, (table, torch.tensor([identity_code(row.identity) for row in having]))
