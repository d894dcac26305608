"""The state of a stream, a value: what must persist to look the same, apart from what may change at any chunk."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from lpm.nn import KVCache
from lpm.stream.ear import Ear
from lpm.stream.work import Work
from lpm.types import References, TextFeatures


@dataclass
class Opening:
    """What a stream begins with.

    Attributes:
        picture_B3HW: first frame in [-1, 1]; the look of the whole stream comes from there.
        references: identity references, with pixels or latents.
        text: one prompt per row.
        fps: video frames a second.
        scales: guidance by stream (text, speak, listen); absent is the model's own, 1 is none.
        seed: of all noise.
    """

    picture_B3HW: Tensor
    references: References | None
    text: list[str]
    fps: float = 24.0
    scales: dict[str, float] = field(default_factory=dict)
    seed: int = 0


@dataclass
class Visual:
    """What persists. Every stage of the pipeline changes a part of its own.

    Attributes:
        picture_BCYX: latents of the first picture.
        references: with latents; their keys live in the caches.
        decoding: state of the codec.
        cache: the generator's memory, made with the first chunk.
        refiner_cache: the refiner's.
    """

    picture_BCYX: Tensor
    references: References | None
    decoding: Any
    cache: KVCache | None = None
    refiner_cache: KVCache | None = None


@dataclass(frozen=True)
class Steering:
    """What may be refreshed, at the beginning of a chunk; the voices, which always are, stand beside it.

    Attributes:
        text: encoded prompts.
        scales: guidance by stream.
    """

    text: TextFeatures | None
    scales: dict[str, float]


@dataclass
class Session:
    """One stream, or a batch of streams in step.

    Attributes:
        visual: persistent state.
        steering: in force since the last chunk began.
        pending: will be in force when the next chunk begins.
        speak, listen: voices; None where the network does not listen.
        fps: video frames a second.
        seed: of all noise.
        chunk: the next chunk to begin.
        between: chunks that wait between the stages; empty unless the stages are staggered.
        made_by: the sampler that opened it, in words; only one of the same words goes on.
    """

    visual: Visual
    steering: Steering
    pending: Steering
    speak: Ear | None
    listen: Ear | None
    fps: float
    seed: int
    chunk: int = 0
    between: list[Work | None] = field(default_factory=list)
    made_by: dict[str, str] = field(default_factory=dict)

    def steer(self, text: TextFeatures | None = None, scales: dict[str, float] | None = None) -> None:
        """Change prompt or guidance from the next chunk on; None leaves it as it is."""
        self.pending = Steering(text or self.pending.text, self.pending.scales if scales is None else scales)

    def interrupt(self) -> None:
        """Let the character fall silent from the next chunk on: what it was still to say is forgotten."""
        if self.speak is not None:
            self.speak.clear()

    @property
    def batch(self) -> int:
        """Number of streams in step."""
        return len(self.visual.picture_BCYX)

    @property
    def in_flight(self) -> int:
        """Chunks that have begun and not come out."""
        return sum(work is not None for work in self.between)

    @property
    def cache_bytes(self) -> int:
        """How much generator and refiner remember, in bytes."""
        return sum(cache.bytes for cache in (self.visual.cache, self.visual.refiner_cache) if cache is not None)

    def turn(self) -> int:
        """Begin the next chunk: changes come into force. Return its number."""
        self.steering, self.chunk = self.pending, self.chunk + 1
        return self.chunk - 1


def check_rows(name: str, count: int, batch: int) -> None:
    """Raise ValueError unless there is one of something for each row of a session."""
    if count != batch:
        raise ValueError(f"{count} {name} for a session of {batch} streams in step; give one for each")


def with_latents(references: References | None, latents_BRCYX: Tensor | None) -> References | None:
    """Return the references without pixels, which a stream would carry for nothing."""
    return references and replace(references, pixels_BRCHW=None, latents_BRCYX=latents_BRCYX)
