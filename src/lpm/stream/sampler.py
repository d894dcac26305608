"""The streaming sampler: a picture and two voices that come in as they are spoken -> video, chunk by chunk."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lpm.backbone import CausalDiT, DiT, cache_bytes
from lpm.condition import encode_references
from lpm.nn import EightBit, Stored
from lpm.sample import FewSteps, PerformanceModel, backbone_steps, noise_levels, refiner_steps, stream_puppet
from lpm.stream.chunks import Chunks
from lpm.stream.ear import Ear, Hearing, window_of
from lpm.stream.performance import perform
from lpm.stream.piece import Piece
from lpm.stream.pipeline import Pipeline
from lpm.stream.session import Opening, Session, Steering, Visual, check_rows, with_latents
from lpm.stream.show import Clip, Show
from lpm.stream.snapshot import check_description, describe, restore_session
from lpm.stream.stages import GUIDED, Decoder, Generator, Refiner, Stage, check_scales
from lpm.stream.work import Work
from lpm.types import AudioEncoder, Conditions, TextFeatures


class StreamSampler(LightningModule):
    """Any number of streams on one set of weights, which it freezes; what a stream remembers is its ``Session``.

    >>> from lpm.sample import base_puppet
    >>> from lpm.stream import Opening
    >>> sampler = StreamSampler(base_puppet(), steps=FewSteps((1.0,), history=0.0))
    >>> session = sampler.open(Opening(torch.zeros(1, 3, 32, 32), references=None, text=["calm"]))
    >>> for voice in (session.speak, session.listen):
    ...     voice.push(torch.zeros(1, 20_000))
    >>> [(piece.chunk, piece.frames, piece.video_BTCHW.shape) for piece in sampler.advance(session)]
    [(0, range(0, 25), torch.Size([1, 25, 3, 32, 32]))]

    It performs with the model's own guidance where an ``Opening`` or ``steer`` names no other, but for that of
    references, which a stream cannot guide. Each guided stream costs an evaluation more at every step.

    Args:
        model: weights of a Base model, or of a student whose backbone is a ``CausalDiT``; those that ship if None, with
            their refiner (``lpm.sample.stream_puppet``).
        refiner: the second network, if there is one.
        steps: how the generator makes a chunk; ``usual_steps`` if None.
        refine: how the refiner does; ``lpm.sample.refiner_steps`` if None.
        chunk: latent frames in a chunk; the network's own if None, 6 for Base weights.
        sink: chunks at the beginning that are never forgotten; the network's own if None, 3 for Base weights.
        window: last chunks that are remembered; the network's own if None, 2 for Base weights.
        history: seconds of silence that the voices begin with; the audio windows of the network fit in.
        stored: how chunks are kept, ``lpm.nn.Exact`` if None.
        turn_once: keep keys after RoPE, too: a few per cent faster at best, for half as much memory again.
        staggered: see ``Pipeline``.

    Raises:
        ValueError: another chunk, sink or window than weights were distilled with, or a network that does not stream.
    """

    def __init__(
        self,
        model: PerformanceModel | None = None,
        refiner: CausalDiT | None = None,
        steps: FewSteps | None = None,
        refine: FewSteps | None = None,
        chunk: int | None = None,
        sink: int | None = None,
        window: int | None = None,
        history: float = 2.6,
        stored: type[Stored] | None = None,
        turn_once: bool = False,
        staggered: bool = False,
    ) -> None:
        super().__init__()
        if model is None:
            model, shipped = stream_puppet()
            refiner = refiner or shipped
        self.model, self.refiner, self.history = model, refiner, history
        self.stored, self.turn_once = stored, turn_once
        given = {"chunk": chunk, "sink": sink, "window": window}
        asked = {name: value for name, value in given.items() if value is not None}
        self.backbone = causal(model.backbone, **asked)
        check_asked(self.backbone, asked)
        if refiner is not None and refiner.chunk != self.backbone.chunk:
            raise ValueError(
                f"the generator makes chunks of {self.backbone.chunk} latent frames, the refiner of {refiner.chunk}; "
                "give both the same chunk"
            )
        kept = stored, turn_once
        stages: list[Stage] = [Generator(self.backbone, model.prediction, steps or usual_steps(model), *kept)]
        if refiner is not None:
            stages.append(Refiner(refiner, model.prediction, refine or refiner_steps(model.shift), *kept))
        self.pipeline = Pipeline([*stages, Decoder(model.codec, model.coordinates)], staggered)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def open(self, opening: Opening) -> Session:
        """Return a new stream: nothing has been heard, nothing been made.

        Raises:
            ValueError: not one prompt and one row of references a picture, or guidance that a stream cannot follow.
        """
        opening = move_data_to_device(opening, self.device)
        batch, references = len(opening.picture_B3HW), opening.references
        check_rows("prompts", len(opening.text), batch)
        if references is not None:
            check_rows("rows of references", len(references.kind_BR), batch)
            references = encode_references(self.model.codec.encode, references)
            references = with_latents(references, references.latents_BRCYX)
        picture = self.model.codec.encode_frames(opening.picture_B3HW)
        visual = Visual(picture, references, self.model.codec.init_decode_state(batch))
        steering = Steering(self.model.text.forward(opening.text), self._scales(opening.scales))
        speak, listen = (open_ear(hearing, batch, picture) for hearing in self.hearings(opening.fps))
        made_by = self._described()
        return Session(visual, steering, steering, speak, listen, opening.fps, opening.seed, made_by=made_by)

    @torch.no_grad()
    def steer(self, session: Session, text: list[str] | None = None, scales: dict[str, float] | None = None) -> None:
        """Change prompts or guidance from the next chunk on.

        Args:
            session: the stream.
            text: one prompt a row; as they are if None.
            scales: in place of all that were named before, see ``Opening``; as they are if None.

        Raises:
            ValueError: not one prompt a row, or guidance that a stream cannot follow; nothing has changed.
        """
        if text is not None:
            check_rows("prompts", len(text), session.batch)
        features: TextFeatures | None = None if text is None else self.model.text.forward(text)
        session.steer(features, None if scales is None else self._scales(scales))

    def missing(self, session: Session) -> tuple[int, int]:
        """Return how many samples of each voice must come, at least, before the next chunk can begin."""
        speak, listen = (
            hearing.missing(ear, session.chunk) if hearing and ear else 0 for hearing, ear in self._voices(session)
        )
        return speak, listen

    @torch.no_grad()
    def begin(self, session: Session) -> Work | None:
        """Return the next chunk's work, with everything that steers it; None while samples are missing."""
        if any(self.missing(session)):
            return None
        speak, listen = (
            hearing.hear(ear, session.chunk) if hearing and ear else None for hearing, ear in self._voices(session)
        )
        if any(ear is not None and found is None for (_, ear), found in zip(self._voices(session), (speak, listen))):
            return None
        chunk = session.turn()
        conditions = Conditions(speak, listen, session.steering.text, session.visual.references)
        return Work(chunk, conditions, session.steering.scales)

    @torch.no_grad()
    def make(self, work: Work, session: Session) -> Piece | None:
        """Push a chunk into the stages; return the piece that comes out, None where it is still on its way."""
        done = self.pipeline.push(work, session)
        return None if done is None else self._piece(done, session)

    @torch.no_grad()
    def advance(self, session: Session) -> Iterator[Piece]:
        """Yield the chunks whose voices have come in; each is made when it is asked for, none ahead.

        A network that hears nothing has always heard enough: take as many as you want.
        """
        while (work := self.begin(session)) is not None:
            piece = self.make(work, session)
            if piece is not None:
                yield piece

    @torch.no_grad()
    def flush(self, session: Session) -> Iterator[Piece]:
        """Yield the chunks that are on their way through staggered stages."""
        for done in self.pipeline.flush(session):
            yield self._piece(done, session)

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> Session:
        """Return the stream of a ``save_session``, on the sampler's device; it goes on as if nothing had happened.

        Raises:
            ValueError: what saved it had another dtype, history, refiner, or size of a network, or does not tell.
        """
        check_description(state, self._described())
        state = move_data_to_device(state, self.device)
        like = state["visual"]["picture_BCYX"]
        batch = len(like)
        speak, listen = (open_ear(hearing, batch, like) for hearing in self.hearings(state["fps"]))
        return restore_session(state, self.model.codec.init_decode_state(batch), speak, listen)

    def predict_step(self, show: Show, batch_idx: int) -> Iterator[Clip]:
        """Perform a show, lazily: its chunks are made while somebody asks for them."""
        return perform(self, show)

    def transfer_batch_to_device(self, batch: Show, device: torch.device, dataloader_idx: int) -> Show:
        """Leave a show as it is: ``open`` moves its pictures."""
        return batch

    def chunks(self, fps: float) -> Chunks:
        """Return the time of streams at a frame rate."""
        return Chunks(self.backbone.chunk * self.model.codec.stride_t, fps, self.model.codec.stride_t)

    def cache_bytes(self, opening: Opening) -> int:
        """Return how much a stream will remember, in bytes, as ``lpm.backbone.cache_bytes`` predicts."""
        picture, references = opening.picture_B3HW, opening.references
        height, width = (side // self.model.codec.stride_s for side in picture.shape[-2:])
        others = 0 if references is None else references.kind_BR.shape[1]
        dtype, eight_bit = next(self.backbone.parameters()).dtype, self.stored is EightBit
        return sum(
            cache_bytes(network, height, width, others, len(picture), dtype, eight_bit, self.turn_once)
            for network in (self.backbone, self.refiner)
            if network is not None
        )

    def hearings(self, fps: float) -> tuple[Hearing | None, Hearing | None]:
        """Return how each voice is heard."""

        def hearing(encoder: AudioEncoder, context: Any) -> Hearing | None:
            return context and Hearing(encoder, *window_of(context, fps), self.chunks(fps), self.history)

        speak, listen = self.backbone.speak, self.backbone.listen
        return hearing(self.model.speak, speak), hearing(self.model.listen, listen)

    def _described(self) -> dict[str, str]:
        """Return what a saved stream must find again here."""
        return describe(next(self.backbone.parameters()).dtype, self.history, self.backbone, self.refiner)

    def _scales(self, asked: dict[str, float]) -> dict[str, float]:
        """Return guidance by stream: the model's own where nothing else is asked for; that of pictures is left out."""
        own = {stream: scale for stream, scale in self.model.guidance.items() if stream in GUIDED}
        return own | check_scales(asked)

    def _piece(self, work: Work, session: Session) -> Piece:
        """Return what a finished chunk shows."""
        assert work.video_BTCHW is not None
        return Piece(work.chunk, self.chunks(session.fps).shown(work.chunk), work.video_BTCHW)

    def _voices(self, session: Session) -> list[tuple[Hearing | None, Ear | None]]:
        return list(zip(self.hearings(session.fps), (session.speak, session.listen)))


def usual_steps(model: PerformanceModel) -> FewSteps:
    """Return how weights make a chunk: a student as it was distilled; Base weights in 2 evaluations, from a clean
    history.
    """
    if isinstance(model.backbone, CausalDiT):
        return backbone_steps(model.shift)
    return FewSteps(tuple(noise_levels(2, model.shift)[:-1]), history=0.0)


def causal(network: nn.Module, chunk: int = 6, sink: int = 3, window: int = 2) -> CausalDiT:
    """Return the network if it streams, as it is, else the streaming network of its weights."""
    if isinstance(network, CausalDiT):
        return network
    if not isinstance(network, DiT):
        raise ValueError(f"{type(network).__name__} does not stream; give a lpm.backbone.DiT or CausalDiT")
    return CausalDiT(network, chunk, sink, window)


def check_asked(network: CausalDiT, asked: dict[str, int]) -> None:
    """Raise ValueError where a chunk, sink or window that is asked for is not the network's own."""
    for name, value in asked.items():
        if value != (own := getattr(network, name)):
            raise ValueError(
                f"{name} of {value}, but the network was distilled with {own}; leave {name} out, or distil a network "
                f"with {name}: {value}"
            )


def open_ear(hearing: Hearing | None, batch: int, like: Tensor) -> Ear | None:
    """Return the state of a voice before its first sample; None where nothing is heard."""
    return None if hearing is None else hearing.init_ear(batch, like)
