"""What a puppet corpus contains, decided in full before anything is drawn: splits, shards, clips and their seeds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache

import numpy as np

from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.language import LANGUAGES

CORPUS_VERSION = "1"  # raise when the same spec would give other bytes
REVEALS_VERSION = "3"  # the same, for specs with reveals alone
SPLITS = ("train", "seen", "val", "test")
KINDS = ("speak", "listen", "conversation", "idle", "sing")
STYLES = ("clean", "flat", "sketch", "textured")
REVEALS = ("turn", "cut", "smile", "smile_cut")
GOLDEN = 0.618034  # of a step from character to character, so that they do not all begin with the same
MIXTURE = {"speak": 0.6, "listen": 0.2, "conversation": 0.15, "idle": 0.05}


@dataclass(frozen=True)
class CorpusSpec:
    """Everything that decides the bytes of a corpus; `lpm.data.puppets.build_corpus` explains the fields."""

    identities: int = 64
    val_identities: int = 16
    test_identities: int = 8
    clips_per_identity: int = 6
    val_clips_per_identity: int = 2
    seen_clips: int = 16
    seconds: float = 5.0
    fps: float = 24.0
    size: int = 96
    motion: float = 0.25
    framing: float = 1.3
    kinds: dict[str, float] = field(default_factory=lambda: dict(MIXTURE))
    styles: dict[str, float] = field(default_factory=lambda: {"clean": 1.0})
    languages: dict[str, float] = field(default_factory=lambda: {"en": 0.8, "zh": 0.2})
    reveals: dict[str, float] = field(default_factory=dict)
    clips_per_shard: int = 24
    raw_videos: int = 0
    raw_seconds: float = 20.0
    raw_height: int = 180
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers(self)
        check_shares("kinds", self.kinds, KINDS)
        check_shares("styles", self.styles, STYLES)
        check_shares("languages", self.languages, tuple(LANGUAGES))
        if self.reveals:
            check_shares("reveals", self.reveals, REVEALS)
            if sum(self.reveals.values()) > 1:
                raise ValueError(f"reveals take {sum(self.reveals.values()):g} of all clips; let them sum to 1 or less")

    @property
    def frames(self) -> int:
        """Frames of a clip: the longest 1 + 4k within `seconds`, so that every latent frame is whole."""
        return whole_latent_frames(self.seconds, self.fps)


@dataclass(frozen=True)
class ClipPlan:
    """One clip: who plays, what is played, how it is drawn, and what its first picture does not show (if anything)."""

    key: str
    split: str
    kind: str
    style: str
    language: str
    identity: int
    seed: int
    reveal: str = ""


@dataclass(frozen=True)
class ShardPlan:
    """One shard: its file name without suffix and its clips, in order."""

    name: str
    clips: tuple[ClipPlan, ...]


def whole_latent_frames(seconds: float, fps: float) -> int:
    """Return the largest 1 + 4k frames that fit into `seconds`.

    >>> whole_latent_frames(5.0, 24.0)
    117
    """
    return 1 + 4 * ((round(seconds * fps) - 1) // 4)


def check_numbers(spec: CorpusSpec) -> None:
    """Raise ValueError for the first number outside its range."""
    limits: dict[str, float] = {
        "identities": 1, "val_identities": 1, "test_identities": 1, "clips_per_identity": 1,
        "val_clips_per_identity": 1, "seen_clips": 1, "seconds": 1, "fps": 5, "size": 16, "motion": 0, "framing": 0.5,
        "clips_per_shard": 1, "raw_videos": 0, "raw_seconds": 4, "raw_height": 48, "seed": 0,
    }  # fmt: skip
    for name, least in limits.items():
        value = getattr(spec, name)
        if not value >= least:
            raise ValueError(f"{name} is {value}, but a corpus needs at least {least:g}; raise {name}")
    for name, most in {"fps": 120, "motion": 2}.items():  # of `perform`
        value = getattr(spec, name)
        if not value <= most:
            raise ValueError(f"{name} is {value}, but a corpus takes at most {most:g}; lower {name}")
    if spec.frames < spec.fps:  # a scene needs a whole second
        cure = f"raise seconds to {(spec.frames + 4) / spec.fps:.3f}"
        raise ValueError(f"seconds is {spec.seconds}, only {spec.frames} whole frames at {spec.fps} fps; {cure}")
    for name in ("size", "raw_height"):
        value = getattr(spec, name)
        if value % 2:
            raise ValueError(f"{name} is {value}, but H.264 needs an even number; use {value + 1}")


def check_shares(name: str, shares: dict[str, float], known: tuple[str, ...]) -> None:
    """Raise ValueError when shares name something unknown, are negative or are all zero."""
    for key, share in shares.items():
        if key not in known:
            raise ValueError(f"{name} has {key!r}, which is unknown; choose from {', '.join(known)}")
        if not share >= 0:
            raise ValueError(f"{name}.{key} is {share}, but a share cannot be negative; use 0 or more")
    if not sum(shares.values()) > 0:
        raise ValueError(f"{name} has no share above 0; give at least one of {', '.join(known)} a positive share")


def spec_hash(spec: CorpusSpec) -> str:
    """Return a short hash of the spec and of the corpus version.

    >>> spec_hash(CorpusSpec()) == spec_hash(CorpusSpec(seed=1))
    False
    """
    fields = asdict(spec)
    if spec.reveals:
        fields["reveals_version"] = REVEALS_VERSION
    else:  # what is off changes no bytes, so it changes no hash
        del fields["reveals"]
    text = json.dumps({"version": CORPUS_VERSION, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def derived_seed(*words: int | str) -> int:
    """Return a 31-bit seed that depends on every word and nothing else."""
    digest = hashlib.sha256("/".join(str(word) for word in words).encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def deal(shares: dict[str, float], count: int, seed: int) -> list[str]:
    """Return `count` names in shuffled order whose numbers follow the shares to within one.

    >>> sorted(deal({"speak": 3, "idle": 1}, 4, seed=0))
    ['idle', 'speak', 'speak', 'speak']
    """
    exact = np.array(list(shares.values())) / sum(shares.values()) * count
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: count - counts.sum()]] += 1
    names = np.repeat(list(shares), counts)
    return [str(name) for name in np.random.default_rng(seed).permutation(names)]


@cache
def cast(seed: int, count: int) -> tuple[int, ...]:
    """Return `count` identity seeds whose characters all differ."""
    seeds: list[int] = []
    looks: set[bytes] = set()
    candidate = 0
    while len(seeds) < count:
        identity_seed = derived_seed(seed, "identity", candidate)
        look = sample_identity(identity_seed).vector().round(3).tobytes()
        candidate += 1
        if look not in looks:
            looks.add(look)
            seeds.append(identity_seed)
    return tuple(seeds)


def split_casts(spec: CorpusSpec) -> dict[str, tuple[int, ...]]:
    """Return the identity seeds of every split: train, val and test share none, `seen` repeats those of train."""
    first, second = spec.identities, spec.identities + spec.val_identities
    everyone = cast(spec.seed, second + spec.test_identities)
    train = everyone[:first]
    return {"train": train, "seen": train, "val": everyone[first:second], "test": everyone[second:]}


def deal_reveals(shares: dict[str, float], turns: np.ndarray, people: int) -> list[str]:
    """Return what each clip reveals, "" for nothing; every character has its due of each to within one clip.

    Args:
        shares: of the clips.
        turns: number of each clip; clip n is of character n modulo ``people``.
        people: characters.

    >>> deal_reveals({"turn": 0.5, "smile": 0.5}, np.arange(4), people=2)
    ['turn', 'turn', 'smile', 'smile']
    """
    clips = max(1, len(turns) / people)
    place = (turns // people / clips + GOLDEN * (turns % people) / clips) % 1
    ends = np.cumsum(list(shares.values()))
    return [[*shares, ""][found] for found in np.searchsorted(ends, place, side="right")]


def plan_split(spec: CorpusSpec, split: str) -> list[ShardPlan]:
    """Return the shards of one split; clips are shuffled so that every shard mixes characters."""
    people = split_casts(spec)[split]
    per_identity = spec.clips_per_identity if split == "train" else spec.val_clips_per_identity
    count = spec.seen_clips if split == "seen" else len(people) * per_identity
    order = np.random.default_rng(derived_seed(spec.seed, split, "order")).permutation(max(count, len(people)))
    dealt = [
        deal(shares, count, derived_seed(spec.seed, split, name))
        for name, shares in (("kinds", spec.kinds), ("styles", spec.styles), ("languages", spec.languages))
    ]
    reveals = deal_reveals(spec.reveals, order[:count], len(people))
    clips = [
        ClipPlan(
            key=f"{split}-{i:06d}",
            split=split,
            kind=kind,
            style=style,
            language=language,
            identity=people[order[i] % len(people)],
            seed=derived_seed(spec.seed, split, i),
            reveal=reveal,
        )
        for i, (kind, style, language, reveal) in enumerate(zip(*dealt, reveals, strict=True))
    ]
    pieces = np.array_split(np.arange(count), -(-count // spec.clips_per_shard))
    return [ShardPlan(f"{split}-{n:04d}", tuple(clips[i] for i in piece)) for n, piece in enumerate(pieces)]


def plan_corpus(spec: CorpusSpec) -> list[ShardPlan]:
    """Return every shard of the corpus, split by split."""
    return [shard for split in SPLITS for shard in plan_split(spec, split)]
