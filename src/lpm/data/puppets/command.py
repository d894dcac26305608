"""The commands `lpm data puppets` (build a corpus) and `lpm data check` (validate shards)."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from lpm.data.puppets.build import build_corpus
from lpm.data.puppets.plan import CorpusSpec
from lpm.data.puppets.verify import verify_shards


def puppets(
    folder: Path,
    identities: int = 64,
    val_identities: int = 16,
    test_identities: int = 8,
    clips_per_identity: int = 6,
    val_clips_per_identity: int = 2,
    seen_clips: int = 16,
    seconds: float = 5.0,
    fps: float = 24.0,
    size: int = 96,
    motion: float = 0.25,
    framing: float = 1.3,
    kinds: dict[str, float] | None = None,
    styles: dict[str, float] | None = None,
    languages: dict[str, float] | None = None,
    reveals: dict[str, float] | None = None,
    clips_per_shard: int = 24,
    raw_videos: int = 4,
    raw_seconds: float = 20.0,
    raw_height: int = 180,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Build a corpus of drawn, speaking and listening characters, or finish an interrupted one.

    Example: `lpm data puppets corpus --identities 64 --seconds 5 --workers 4`

    Args:
        folder: where to build; a folder with another corpus, or with shards of one's own, is refused.
        identities: characters in train (and in `seen`, with sentences never heard in train).
        val_identities: further characters in val.
        test_identities: further characters in test.
        clips_per_identity: clips of every train character.
        val_clips_per_identity: clips of every val and test character.
        seen_clips: clips in `seen`.
        seconds: length of a clip, rounded down to 1 + 4k frames.
        fps: frames a second, 5 to 120.
        size: height and width in pixels, even.
        motion: amplitude of head motion, 0 to 2; 0.25 is mild, 1 is free.
        framing: 1 shows head and shoulders, 1.3 is tight on the face.
        kinds: shares of speak, listen, conversation, idle and sing.
        styles: shares of the drawing styles clean, flat, sketch and textured.
        languages: shares of the spoken languages en, zh, es and de.
        reveals: shares of clips whose first picture does not tell what comes: turn (the whole character turns a
            quarter), cut (is seen from there at once), smile (breaks into a smile of its own) and smile_cut (is seen
            with it at once); none if not given.
        clips_per_shard: clips in one tar.
        raw_videos: two-person videos as a camera would give them.
        raw_seconds: length of a raw video.
        raw_height: height of a raw video (16:9).
        seed: another seed is another corpus.
        workers: processes at a time; all cores if not given.
    """
    given = {"kinds": kinds, "styles": styles, "languages": languages, "reveals": reveals}
    shares = {name: value for name, value in given.items() if value is not None}
    spec = CorpusSpec(
        identities=identities, val_identities=val_identities, test_identities=test_identities,
        clips_per_identity=clips_per_identity, val_clips_per_identity=val_clips_per_identity, seen_clips=seen_clips,
        seconds=seconds, fps=fps, size=size, motion=motion, framing=framing, clips_per_shard=clips_per_shard,
        raw_videos=raw_videos, raw_seconds=raw_seconds, raw_height=raw_height, seed=seed, **shares,
    )  # fmt: skip
    build_corpus(folder, spec, workers)
    Console().print((Path(folder) / "card.md").read_text().split("![")[0], markup=False, highlight=False)


def check(folder: Path) -> int:
    """Validate every sample of every shard in a folder and print a table; return 1 when anything is wrong, else 0.

    Example: `lpm data check corpus`

    Args:
        folder: a corpus, or a folder of shards with or without `index.json`.
    """
    folder = Path(folder)
    report = verify_shards(folder / "shards" if (folder / "shards").is_dir() else folder)
    Console().print(report.table())
    return int(report.wrong > 0)
