"""Pairs of preference: candidates from several seeds under one condition, judged, the best pair kept."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from lpm.data import Clip, Cut, Pixels, Sample, Shard, collate, encode_video, first_start, read_shard, write_index
from lpm.data.stages import Counts, apply, valid
from lpm.preference import Candidate, PuppetScorer, Scorer, Selection, described, score, select
from lpm.preference.pareto import REASONS
from lpm.sample import PerformanceModel
from lpm.sample.performance import check_lengths
from lpm.train.callbacks import write_json
from lpm.train.data import only_global
from lpm.train.encode import tensors_hash, write_shard
from lpm.train.frames import to_uint8
from lpm.train.missing import make_missing, row_path, share
from lpm.types import Batch

PAIRS_VERSION = "1"  # raise when the same settings would give other pairs


@dataclass(frozen=True)
class PairSettings:
    """How candidates are made.

    Attributes:
        candidates: seeds per condition, 2 or more.
        frames: length of a candidate, 1 + 4k.
        steps: solver steps.
        chunk: new frames per generated chunk.
        history: seconds of audio before a clip.
        lookahead: seconds of audio after it.
        batch_size: conditions that are generated together.
        conditions: at most so many, in the corpus's order; all if None.
        guidance: scales by stream with each of which every seed is performed, in place of the model's own, where 1 is
            none; the model's own alone if None. ``[{}, {"speak": 1.0}]`` is the model's own and none of the voice.
        seed: of the noise.
    """

    candidates: int = 4
    frames: int = 97
    steps: int = 2
    chunk: int = 24
    history: float = 2.6
    lookahead: float = 0.2
    batch_size: int = 12
    conditions: int | None = None
    guidance: list[dict[str, float]] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"candidates": 2, "frames": 5, "steps": 1, "batch_size": 1, "conditions": 1, "seed": 0}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} of {value} is below {limit}; raise it")
        if self.guidance is not None and not self.guidance:
            raise ValueError("no guidance to perform with; leave it out for the model's own")
        check_lengths(self.frames, self.chunk)
        if not min(self.history, self.lookahead) >= 0:
            raise ValueError(f"history {self.history} and lookahead {self.lookahead} must be 0 seconds or more")

    @property
    def scales(self) -> list[dict[str, float]]:
        """What guides each round of seeds."""
        return self.guidance or [{}]

    @property
    def cut(self) -> Cut:
        """The cut that makes a condition of a sample: its beginning, with the global reference."""
        return Cut(
            self.frames,
            [Pixels()],
            start=first_start,
            references=only_global,
            history=self.history,
            lookahead=self.lookahead,
        )


def make_pairs(
    model: PerformanceModel,
    shards: Sequence[Shard],
    folder: Path,
    scorers: Sequence[Scorer] | None = None,
    settings: PairSettings | None = None,
) -> dict[str, Any]:
    """Make one shard of pairs for every shard of clips, with a progress bar, and return the summary.

    ``folder`` gets the shards, each beside a ``.json`` row with the scores of all candidates, ``index.json``,
    ``pairs.json`` (what made them) and ``summary.json``. A killed run goes on with the first shard without a row, and
    several processes on one folder share the shards: noise depends on the settings and the place of a condition alone,
    so what is redone, or made by another, comes out the same.

    Args:
        model: what performs; on the device on which it should.
        shards: clips whose audio, prompt, first frame and references are the conditions.
        folder: where to write; made if missing.
        scorers: judges; ``PuppetScorer()`` if None.
        settings: ``PairSettings()`` if None.

    Raises:
        ValueError: the folder holds pairs made otherwise, or no condition gave a pair (counted by reason).
    """
    settings, judges = settings or PairSettings(), [PuppetScorer()] if scorers is None else list(scorers)
    if not judges:
        raise ValueError("no scorer; give at least one")
    folder, jobs = Path(folder), share(shards, settings.conditions)
    claim(folder, origin(model, shards, judges, settings))
    model.eval()
    make_missing(
        folder,
        jobs,
        lambda shard, count: make_shard(model, shard, count, folder, judges, settings),
        "pairs",
        "conditions",
    )
    with FileLock(folder / ".lock"):
        if any(folder.glob("*.tar")):
            write_index(folder)
        summary = summarise([json.loads(row_path(folder, shard).read_text()) for shard, _ in jobs])
        write_json(folder / "summary.json", summary)
    if not summary["pairs"]:
        raise ValueError(
            f"no pair from {summary['conditions']} conditions ({summary['skipped']}, dropped {summary['dropped']}); "
            "raise candidates, or the tolerances of the scores that stand against each other"
        )
    return summary


def make_shard(
    model: PerformanceModel,
    shard: Shard,
    count: int,
    folder: Path,
    scorers: Sequence[Scorer],
    settings: PairSettings,
) -> None:
    """Write the pairs of one shard of clips, then its row; the row says that both are complete."""
    path, counts, judged = folder / Path(shard.path).name, Counts(), []
    samples = [sample for sample, _ in zip(read_shard(shard.path), range(count))]
    clips = list(apply(valid(samples, counts), lambda sample: (sample, cut(sample, settings)), counts))

    def pairs() -> Iterator[Sample]:
        for first, group in groups(clips, settings.batch_size):
            batch = move_data_to_device(collate([clip for _, clip in group]), model.device)
            places = [place(settings.seed, path.name, first, number) for number in range(settings.candidates)]
            latents, videos = perform_all(model, batch, settings, places)
            seeds = places * len(settings.scales)
            for row, (sample, clip) in enumerate(group):
                scores = [score(scorers, candidate_of(batch, row, video[row])) for video in videos]
                chosen = select(scores, tolerances(scorers))
                judged.append({"key": clip.key, **chosen._asdict(), "seeds": seeds, "scores": scores})
                if chosen.winner is not None:
                    yield pair_sample(model, sample, batch, row, chosen, latents, videos, judged[-1])

    pairs_made = write_shard(pairs(), path)
    reasons = Counter(row["reason"] for row in judged)
    write_json(
        row_path(folder, shard),
        {
            "samples": len(samples),
            "conditions": len(judged),
            "pairs": pairs_made,
            "skipped": {reason: reasons[reason] for reason in REASONS[1:]},
            "dropped": dict(counts.dropped),
            "judged": judged,
        },
    )


def groups(clips: Sequence[tuple[Sample, Clip]], most: int) -> Iterator[tuple[int, Sequence[tuple[Sample, Clip]]]]:
    """Yield neighbours that fit into one batch, of one frame rate and picture size, with the place of their first."""
    first = 0
    for _, run in groupby(clips, lambda pair: (pair[1].fps, getattr(pair[1].video_THWC, "shape", None))):
        alike = list(run)
        yield from ((first + at, alike[at : at + most]) for at in range(0, len(alike), most))
        first += len(alike)


def cut(sample: Sample, settings: PairSettings) -> Clip:
    """Return the condition that a sample holds."""
    return settings.cut(sample, np.random.default_rng(0))


def perform_all(
    model: PerformanceModel, batch: Batch, settings: PairSettings, places: Sequence[int]
) -> tuple[list[Tensor], list[np.ndarray]]:
    """Return the latents (B, T', C, Y, X) and the video (B, T, H, W, 3) of every seed with the first guidance, then the
    next.
    """
    latents = [
        model.perform_latents(
            batch,
            frames=settings.frames,
            steps=settings.steps,
            chunk=settings.chunk,
            scales=scales,
            generator=torch.Generator().manual_seed(seed),
        )
        for scales in settings.scales
        for seed in places
    ]
    with torch.no_grad():
        return latents, [to_uint8(model.codec.decode(clip).clamp(-1, 1)) for clip in latents]


def candidate_of(batch: Batch, row: int, video_THWC: np.ndarray) -> Candidate:
    """Return a generated clip with the conditions of a row of a batch."""
    references = batch.references
    shown = references.pixels_BRCHW is not None and bool(references.mask_BR[row, 0])
    return Candidate(
        video_THWC=video_THWC,
        fps=batch.fps,
        state_T=batch.state_BT[row].cpu(),
        speak_S=batch.speak_BS[row].cpu(),
        listen_S=batch.listen_BS[row].cpu(),
        history=batch.history,
        text=batch.text[row],
        reference_HWC=to_uint8(references.pixels_BRCHW[row, 0]) if shown else None,  # type: ignore[index]
        truth={name: values[row].cpu() for name, values in batch.truth.items()},
        meta=batch.meta[row],
    )


def pair_sample(
    model: PerformanceModel,
    sample: Sample,
    batch: Batch,
    row: int,
    chosen: Selection,
    latents: Sequence[Tensor],
    videos: Sequence[np.ndarray],
    judged: dict[str, Any],
) -> Sample:
    """Return the sample of a pair: the condition, and winner and loser as video and latents."""
    assert chosen.winner is not None and chosen.loser is not None
    winner, loser = chosen.winner, chosen.loser
    preference = {
        "winner": judged["scores"][winner],
        "loser": judged["scores"][loser],
        "seeds": [judged["seeds"][winner], judged["seeds"][loser]],
        "margin": chosen.margin,
    }
    seen = only_global(sample["json"].get("references", []), None)
    performed = performed_sample(model, sample, batch, row, videos[winner][row], seen)
    return {
        **performed,
        "loser.mp4": encode_video(videos[loser][row], batch.fps),
        "winner.npy": half(latents[winner][row]),
        "loser.npy": half(latents[loser][row]),
        "json": {**performed["json"], "preference": preference},
    }


def performed_sample(
    model: PerformanceModel,
    sample: Sample,
    batch: Batch,
    row: int,
    video_THWC: np.ndarray,
    references: Sequence[int],
) -> Sample:
    """Return a sample of the condition in a row of a batch, and of a performance of it that saw these references."""
    meta, (frames, height, width) = sample["json"], video_THWC.shape[:3]
    used = [meta["references"][index] for index in references]
    shown = {"ref.npy": half(encode_shown(model, batch, row))} if used else {}
    states = [[start, min(end, frames), label] for start, end, label in meta["states"] if start < frames]
    about = {"frames": frames, "height": height, "width": width, "states": states, "references": used}
    return {
        "__key__": sample["__key__"],
        **{name: sample[name] for name in ("speak.wav", "listen.wav") if name in sample},
        **{reference["file"]: sample[reference["file"]] for reference in used},
        **shown,
        "mp4": encode_video(video_THWC, batch.fps),
        "json": {**meta, **about},
    }


@torch.no_grad()
def encode_shown(model: PerformanceModel, batch: Batch, row: int) -> Tensor:
    """Return the latents (R, C, Y, X) of the references of a row."""
    pixels = batch.references.pixels_BRCHW
    assert pixels is not None
    return model.codec.encode_frames(pixels[row][batch.references.mask_BR[row]])


def half(values: Tensor) -> np.ndarray:
    """Return a tensor as float16."""
    return values.half().cpu().numpy()


def place(*words: int | str) -> int:
    """Return a seed that depends on every word and nothing else."""
    numbers = [word if isinstance(word, int) else zlib.crc32(word.encode()) for word in words]
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def tolerances(scorers: Sequence[Scorer]) -> dict[str, float]:
    """Return the tolerances of all scorers."""
    return {name: value for scorer in scorers for name, value in scorer.tolerances.items()}


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the totals of all shards, and how far scores differ between seeds (mean standard deviation)."""
    totals: dict[str, Any] = {name: sum(row[name] for row in rows) for name in ("samples", "conditions", "pairs")}
    for name in ("skipped", "dropped"):
        totals[name] = dict(sum((Counter(row[name]) for row in rows), Counter()))
    judged = [item["scores"] for row in rows for item in row["judged"]]
    names = sorted({name for scores in judged for name in scores[0]})
    totals["spread"] = {
        name: float(np.nanmean([np.std([one[name] for one in scores]) for scores in judged if name in scores[0]]))
        for name in names
    }
    return totals


def origin(
    model: PerformanceModel, shards: Sequence[Shard], scorers: Sequence[Scorer], settings: PairSettings
) -> dict[str, Any]:
    """Return everything that decides the pairs."""
    return {
        "version": PAIRS_VERSION,
        "model": tensors_hash(model.state_dict()),
        **guided(model),
        "clips": {Path(shard.path).name: shard.sha256 for shard in shards},
        "scorers": [described(scorer) for scorer in scorers],
        "settings": asdict(settings),
    }


def guided(model: PerformanceModel) -> dict[str, Any]:
    """Return the guidance with which a model performs, as a part of what decides its performances."""
    return {"guidance": model.guidance} if model.guidance else {}


def claim(folder: Path, wanted: dict[str, Any], what: str = "pairs") -> None:
    """Make the folder and write ``pairs.json``; raise ValueError when it cannot be written or holds other pairs.

    ``what`` replaces the word.
    """
    path = folder / f"{what}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # another process may be about to claim it
            if not path.exists():
                if any(folder.glob("*.tar")):
                    raise ValueError(f"{folder} holds shards that are no {what}; choose another folder")
                write_json(path, wanted)
            found = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}); choose a folder you own") from error
    changed = [name for name, value in json.loads(json.dumps(wanted)).items() if found.get(name) != value]
    if changed:
        raise ValueError(f"{folder} holds {what} of other {' and '.join(changed)}; choose another folder or delete it")
