"""The values that travel between packages, and the contracts of interchangeable parts.

Shape letters: ``B`` batch, ``T`` frames (pixel or latent, as said), ``C`` channels, ``H W`` pixels, ``Y X`` latent
height
and width, ``L`` tokens, ``D`` width, ``A`` audio steps, ``S`` audio samples, ``R`` reference images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:  # the processes that draw puppets know these values' names and need no torch
    from torch import Tensor, nn

SAMPLE_RATE = 16_000
STATES = ("speaking", "listening", "idle")
REFERENCE_KINDS = ("global", "body", "expression")
REFERENCE_LIMITS = {"global": 1, "body": 4, "expression": 8}
State = TypeVar("State")
"""What a stream remembers; every streaming part has a type of its own."""


@dataclass
class References:
    """Identity reference images of a batch; rows are padded to the longest, ``mask_BR`` marks real ones.

    Attributes:
        kind_BR: index into ``REFERENCE_KINDS``.
        sub_kind_BR: index of the body view or expression inside its kind; 0 for global.
        mask_BR: True where a reference exists.
        pixels_BRCHW: images in [-1, 1], or None when only latents are known.
        latents_BRCYX: the images encoded alone by the codec, or None.
    """

    kind_BR: Tensor
    sub_kind_BR: Tensor
    mask_BR: Tensor
    pixels_BRCHW: Tensor | None = None
    latents_BRCYX: Tensor | None = None


@dataclass
class AudioFeatures:
    """Audio tokens of one stream on a regular time grid.

    Attributes:
        tokens_BAD: features.
        rate: tokens a second.
        start: time in seconds of token 0 relative to video frame 0 (negative for history).
    """

    tokens_BAD: Tensor
    rate: float
    start: float


@dataclass
class TextFeatures:
    """Text tokens; ``mask_BL`` is True on real tokens."""

    tokens_BLD: Tensor
    mask_BL: Tensor


@dataclass
class Conditions:
    """Everything that steers a generated clip; None stands for a stream that is absent.

    ``keep`` masks (B,) bool say per row whether a stream is kept (False: replaced by the learnt null condition);
    None keeps all rows. ``negative`` is a prompt that guidance of text leads away from, instead of from no prompt;
    backbones do not read it.
    """

    speak: AudioFeatures | None = None
    listen: AudioFeatures | None = None
    text: TextFeatures | None = None
    references: References | None = None
    keep: dict[str, Tensor] = field(default_factory=dict)
    negative: TextFeatures | None = None


@dataclass
class Prompt:
    """What happens from ``start``, in seconds of the video, until the next prompt."""

    start: float
    text: str


@dataclass
class Batch:
    """A collated batch of clip windows.

    Attributes:
        keys: sample keys.
        fps: frames a second (equal in a batch).
        speak_BS, listen_BS: 16 kHz audio from ``history`` seconds before frame 0 to the window's end (and look-ahead).
        history: seconds of audio before frame 0.
        text: one prompt per row.
        state_BT: per frame index into ``STATES``, -1 unknown.
        video_BTCHW: pixels in [-1, 1], T = 1 + 4k, or None when only latents were loaded.
        latents_BTCYX: latent window; index 0 is the first frame encoded alone; or None.
        given_B: latent frames at the beginning of each row that a model is given clean: 1, the first frame alone, if
            None. In rows with more, frame 0 is an earlier picture of the clip, and the others are what came just
            before the frames to make.
        references: identity references.
        truth: per-frame ground truth by control name, each (B, T); empty on real data.
        meta: the samples' ``json`` fields.
        loser_BTCYX: in pairs of preference, the latents that are not to be like; ``latents_BTCYX`` is the winner.
        negative: what guidance of text leads away from, one prompt per row; None for no prompt.
        prompts: per row, prompts that take over from ``text`` in the course of a long video; None for none.
        points_BSTCYX: in trajectories of a teacher, the latents at S falling noise levels, of which ``latents_BTCYX``
            is the last.
    """

    keys: list[str]
    fps: float
    speak_BS: Tensor
    listen_BS: Tensor
    history: float
    text: list[str]
    state_BT: Tensor
    references: References
    video_BTCHW: Tensor | None = None
    latents_BTCYX: Tensor | None = None
    truth: dict[str, Tensor] = field(default_factory=dict)
    meta: list[dict[str, Any]] = field(default_factory=list)
    given_B: Tensor | None = None
    loser_BTCYX: Tensor | None = None
    negative: list[str] | None = None
    prompts: list[list[Prompt]] | None = None
    points_BSTCYX: Tensor | None = None


@runtime_checkable
class Codec(Protocol[State]):
    """Video <-> latent, causal in time: frame 0 alone, then one latent frame per ``stride_t`` frames."""

    channels: int
    stride_t: int
    stride_s: int

    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Return latents (B, 1 + (T - 1) / stride_t, C, Y, X)."""
        ...

    def encode_frames(self, frames_NCHW: Tensor) -> Tensor:
        """Return the latent frame (N, C, Y, X) of each picture alone."""
        ...

    def decode(self, latents_BTCYX: Tensor) -> Tensor:
        """Return video (B, 1 + (T - 1) * stride_t, 3, H, W) in [-1, 1]."""
        ...

    def init_decode_state(self, batch: int) -> State:
        """Return the state before the first latent frame."""
        ...

    def decode_step(self, latents_BTCYX: Tensor, state: State) -> tuple[Tensor, State]:
        """Decode the next latent frames; return their video frames and the next state."""
        ...


@runtime_checkable
class AudioEncoder(Protocol[State]):
    """Waveform -> tokens: ``forward`` for a whole clip equals ``step`` over its pieces, however it is cut, then
    ``finish``.

    Token ``a`` belongs to ``a / rate`` to ``(a + 1) / rate`` seconds. S samples give ``floor(S * rate / 16000)``
    tokens; what does not fill a token at the end is dropped.
    """

    rate: float
    width: int

    def forward(self, samples_BS: Tensor) -> Tensor:
        """Return tokens (B, A, D)."""
        ...

    def init_state(self, batch: int) -> State:
        """Return the empty streaming state."""
        ...

    def step(self, samples_BS: Tensor, state: State) -> tuple[Tensor, State]:
        """Encode the next samples; return tokens and the next state."""
        ...

    def finish(self, state: State) -> Tensor:
        """Return the tokens that are left when the stream ends, perhaps none."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Prompts -> tokens."""

    width: int

    def forward(self, text: list[str]) -> TextFeatures:
        """Return tokens (B, L, D) and their mask."""
        ...


@runtime_checkable
class Adapter(Protocol):
    """A way to adapt a backbone by training little of it."""

    def adapt(self, backbone: nn.Module) -> nn.Module:
        """Return the backbone, frozen but for what is to be trained."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """The denoiser: noisy latents, noise levels and conditions -> prediction of the same shape."""

    def forward(self, noisy_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, fps: float) -> Tensor:
        """Return the prediction (B, T, C, Y, X)."""
        ...
