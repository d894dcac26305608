"""Stages 2 to 4: from what the student makes the clip that is judged."""

import copy
from typing import Protocol

import torch
from torch import Tensor, nn

from lpm.backbone import CausalDiT
from lpm.distill.chance import Chance
from lpm.distill.clip import StudentClip, causal_backbone, count_chunks, last_window, per_frame
from lpm.distill.perceptual import Perceptual
from lpm.flow import interpolate
from lpm.sample import FewSteps, PerformanceModel, add_noise, hear, roll_out
from lpm.sample.pretrained import load_weights, read_weights
from lpm.types import Conditions


class Stage(Protocol):
    """How a student makes clips in training."""

    def begin(self, model: PerformanceModel) -> None:
        """Take the model, which holds the starting weights at this moment."""
        ...

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return a clip that the model made for the conditions of a teacher's clip, whose codec latents are given."""
        ...


class Judged:
    """Which part of a clip is judged: its last chunks, as far as a teacher of short clips sees.

    Clips get a random length first, so that every chunk is the last one at times. Chunks before the judged ones carry
    no gradient: their memory is constant, however long the roll-out.

    Args:
        chunks: at the end of a clip; None judges whole clips.
        given: latent frames before them that the teacher sees; as many as in its training.
        shortest: chunks of the shortest clip.
    """

    def __init__(self, chunks: int | None = 1, given: int = 2, shortest: int = 1) -> None:
        if (chunks is not None and chunks < 1) or given < 0 or shortest < 1:
            raise ValueError(
                f"judged chunks {chunks}, given frames {given}, shortest clip {shortest}; chunks and shortest clip must "
                "be 1 or more, given frames 0 or more"
            )
        self.chunks, self.given, self.shortest = chunks, given, shortest

    def draw(self, most: int, chance: Chance) -> tuple[int, int]:
        """Return a clip's chunks, and how many of them at its end are judged."""
        if self.shortest > most:
            raise ValueError(f"shortest clip of {self.shortest} chunks, but the data have {most}; lengthen the data")
        chunks = chance.number(self.shortest, most + 1)
        return chunks, min(chunks, self.chunks or chunks)

    def window(
        self, model: PerformanceModel, path_BTCYX: Tensor, judged: int, conditions: Conditions, fps: float
    ) -> StudentClip:
        """Return what is judged of a clip in the space where noise is added."""
        clip, chunk = model.coordinates.leave(path_BTCYX), causal_backbone(model).chunk
        return last_window(clip, conditions, judged * chunk, self.given, model.codec.stride_t / fps)


class OffPolicy(nn.Module):
    """Stage 2: chunks of the teacher's clips with noise, each after the teacher's own past, made clean in one step.

    Source: LPM 1.0, Online LPM, stage 2. The perceptual term pulls to the very clip that was noised, which at T0 is pure
    noise and could be any: so each frame's weight falls with its noise, by 1 - t (ours).

    Args:
        steps: levels from which the student predicts, and the level of its history; see ``lpm.sample.backbone_steps``.
        judged: which chunks are judged; ``Judged()`` if None.
        perceptual: distance of the prediction from the teacher's clip; None for none.
        weight: of the perceptual term.
    """

    def __init__(
        self,
        steps: FewSteps,
        judged: Judged | None = None,
        perceptual: Perceptual | None = None,
        weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.steps, self.judged = steps, judged or Judged()
        self.perceptual, self.weight = perceptual, weight

    def begin(self, model: PerformanceModel) -> None:
        """Need nothing."""

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return the prediction for chunks with noise; chunks that are not judged are the teacher's."""
        network = causal_backbone(model)
        chunks, judged = self.judged.draw(count_chunks(latents_BTCYX.shape[1], network.chunk), chance)
        wanted_BTCYX = latents_BTCYX[:, : 1 + chunks * network.chunk]
        clean = model.coordinates.enter(wanted_BTCYX)
        which_BN = chance.numbers(len(self.steps.levels), len(clean), chunks)
        t_BT = torch.zeros(clean.shape[:2])
        t_BT[:, 1:] = per_frame(torch.tensor(self.steps.levels)[which_BN], network.chunk)
        guess = self.predict(model, clean, t_BT.to(clean), conditions, fps, chance)
        split = 1 + (chunks - judged) * network.chunk
        path = torch.cat([clean[:, :split], guess[:, split:]], dim=1)
        made = self.judged.window(model, path, judged, conditions, fps)
        return made._replace(terms=self._terms(model, made, wanted_BTCYX, t_BT.to(clean)))

    def predict(
        self,
        model: PerformanceModel,
        clean_BTCYX: Tensor,
        t_BT: Tensor,
        conditions: Conditions,
        fps: float,
        chance: Chance,
    ) -> Tensor:
        """Return the clean clip that the student sees in a noisy one, chunk by chunk after a clean or noisy past."""
        noisy = interpolate(clean_BTCYX, chance.noise(clean_BTCYX), t_BT)
        t_history_BT = torch.full_like(t_BT, self.steps.history)
        t_history_BT[:, 0] = 0
        history = interpolate(clean_BTCYX, chance.noise(clean_BTCYX), t_history_BT)
        output = causal_backbone(model).forward_clip(noisy, t_BT, conditions, fps, history, t_history_BT)
        return model.prediction.clean(output, noisy, t_BT)

    def _terms(
        self, model: PerformanceModel, made: StudentClip, wanted_BTCYX: Tensor, t_BT: Tensor
    ) -> dict[str, Tensor]:
        if self.perceptual is None or self.weight == 0:
            return {}
        frames = made.clip_BTCYX.shape[1] - 1
        wanted = torch.cat([wanted_BTCYX[:, :1], wanted_BTCYX[:, -frames:]], dim=1)
        distance_BT = self.perceptual.forward(model.codec, made.clip_BTCYX, wanted)[:, made.given :]
        return {"perceptual": self.weight * (distance_BT * (1 - t_BT[:, made.given - 1 - frames :])).mean()}


class OnPolicy(nn.Module):
    """Stage 3: the student's own roll-out through its cache, from noise; it leaves at a random step.

    Sources: LPM 1.0, Online LPM, stage 3; Self Forcing (Huang et al. 2025), for the random exit and the gradient of one
    step alone.

    Args:
        steps: as in ``OffPolicy``.
        judged: which chunks are judged, and carry gradients; ``Judged()`` if None.
        through_history: let gradients flow from chunk to chunk through the cache.
    """

    def __init__(self, steps: FewSteps, judged: Judged | None = None, through_history: bool = False) -> None:
        super().__init__()
        self.steps, self.judged, self.through_history = steps, judged or Judged(), through_history

    def begin(self, model: PerformanceModel) -> None:
        """Need nothing."""

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return a roll-out; of the teacher's clip only the picture and the length are used."""
        network = causal_backbone(model)
        chunks, judged = self.judged.draw(count_chunks(latents_BTCYX.shape[1], network.chunk), chance)
        last = chance.number(0, len(self.steps.levels))
        picture_BCYX = latents_BTCYX[:, 0]
        made = roll_out(
            network,
            [chance.noise(latents_BTCYX[:, 1 : 1 + network.chunk]) for _ in range(chunks)],
            hear(conditions, network.chunk * model.codec.stride_t / fps),
            network.init_cache(picture_BCYX, conditions, fps),
            model.prediction,
            self.steps,
            chance.noise,
            last,
            chunks - judged,
            self.through_history,
        )
        path = torch.cat([picture_BCYX[:, None], *made], dim=1)
        return self.judged.window(model, path, judged, conditions, fps)


class Refine(nn.Module):
    """Stage 4: a refiner's roll-out with a clean history, from a frozen backbone's own roll-out with noise.

    Source: LPM 1.0, Online LPM, stage 4.

    Args:
        steps: of the refiner; see ``lpm.sample.refiner_steps``.
        backbone_steps: of the backbone.
        backbone: checkpoint or weights folder of the backbone; the weights that the refiner begins with if None. The
            two have one shape.
        judged: as in ``OnPolicy``.
    """

    def __init__(
        self, steps: FewSteps, backbone_steps: FewSteps, backbone: str | None = None, judged: Judged | None = None
    ) -> None:
        super().__init__()
        self.steps, self.backbone_steps, self.judged = steps, backbone_steps, judged or Judged()
        self.backbone = backbone
        self._frozen: list[CausalDiT] = []  # in a list: no part of checkpoints

    def begin(self, model: PerformanceModel) -> None:
        """Make the backbone: a copy of the student with weights of its own."""
        frozen = copy.deepcopy(model, {id(model.codec): model.codec})
        if self.backbone is not None:
            load_weights(frozen, read_weights(self.backbone))
        self._frozen = [causal_backbone(frozen).requires_grad_(False).eval()]

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return a refined roll-out; of the teacher's clip only the picture and the length are used."""
        network = causal_backbone(model)
        chunks, judged = self.judged.draw(count_chunks(latents_BTCYX.shape[1], network.chunk), chance)
        picture_BCYX = latents_BTCYX[:, 0]
        noises = [chance.noise(latents_BTCYX[:, 1 : 1 + network.chunk]) for _ in range(chunks)]
        made = roll_out(
            network,
            self.starts(model, picture_BCYX, noises, conditions, fps, chance),
            hear(conditions, network.chunk * model.codec.stride_t / fps),
            network.init_cache(picture_BCYX, conditions, fps),
            model.prediction,
            self.steps,
            chance.noise,
            learn_from=chunks - judged,
        )
        path = torch.cat([picture_BCYX[:, None], *made], dim=1)
        return self.judged.window(model, path, judged, conditions, fps)

    @torch.no_grad()
    def starts(
        self,
        model: PerformanceModel,
        picture_BCYX: Tensor,
        noises: list[Tensor],
        conditions: Conditions,
        fps: float,
        chance: Chance,
    ) -> list[Tensor]:
        """Return the backbone's chunks, noised to the level at which the refiner takes them."""
        if not self._frozen:
            raise ValueError("the backbone has not begun; call begin(model) with the starting weights first")
        (network,) = self._frozen
        rough = roll_out(
            network,
            noises,
            hear(conditions, network.chunk * model.codec.stride_t / fps),
            network.init_cache(picture_BCYX, conditions, fps),
            model.prediction,
            self.backbone_steps,
            chance.noise,
        )
        return [add_noise(chunk, self.steps.levels[0], chance.noise) for chunk in rough]
