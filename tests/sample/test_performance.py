"""A video of any length: chunk by chunk, in bounded memory, with clean references and the prompt of the time."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lpm.backbone import puppet
from lpm.codec import TinyCodec
from lpm.condition import ByteText, LogMelEncoder
from lpm.flow import Absolute, PredictClean, Residual
from lpm.sample import ClipSampler, GuidanceInterval, PerformanceModel
from lpm.sample.performance import shift_audio
from lpm.types import Batch, Prompt, References

FPS, HISTORY = 24.0, 0.5


def parts():
    torch.manual_seed(0)
    return {
        "codec": TinyCodec(width=16, blocks=1),
        "text": ByteText(16),
        "speak": LogMelEncoder(16, 50.0, mels=16),
        "listen": LogMelEncoder(16, 12.5, mels=16),
    }


@pytest.fixture(scope="module")
def model():
    made = PerformanceModel(
        puppet(width=32, depth=2, heads=2, audio_width=16, text_width=16),
        **parts(),
        prediction=PredictClean(),
        coordinates=Residual(1.0),
    )
    for parameter in made.backbone.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made.eval()


class Spy(nn.Module):
    """Answers with the first reference, or with the mean of the prompt, and notes what it was given."""

    def __init__(self, answer="reference"):
        super().__init__()
        self.answer, self.calls = answer, []

    def forward(self, noisy, t, conditions, fps):
        self.calls.append((noisy, t, conditions))
        if self.answer == "reference":
            return conditions.references.latents_BRCYX[:, :1].expand_as(noisy)
        return conditions.text.tokens_BLD.mean((1, 2))[:, None, None, None, None].expand_as(noisy)


def spied(answer="reference"):
    return PerformanceModel(Spy(answer), **parts(), prediction=PredictClean(), coordinates=Absolute())


def batch(frames=33, **changes):
    generator = torch.Generator().manual_seed(3)

    def noise(*shape):
        return torch.rand(*shape, generator=generator) * 2 - 1

    samples = round((HISTORY + frames / FPS) * 16_000)
    made = Batch(
        keys=["a", "b"],
        fps=FPS,
        speak_BS=noise(2, samples) / 10,
        listen_BS=noise(2, samples) / 10,
        history=HISTORY,
        text=["calm", "loud"],
        state_BT=torch.zeros(2, frames).long(),
        references=References(
            torch.zeros(2, 1).long(), torch.zeros(2, 1).long(), torch.ones(2, 1).bool(), noise(2, 1, 3, 32, 32)
        ),
        video_BTCHW=noise(2, 1, 3, 32, 32),
    )
    return replace(made, **changes)


def seed(number=0):
    return torch.Generator().manual_seed(number)


SETTINGS = {"steps": 2, "chunk": 12, "history": 2, "scales": {"speak": 2.0}, "schedule": GuidanceInterval(0.8, 1.0)}


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_the_whole_is_its_pieces(model, overlap):
    settings = {**SETTINGS, "overlap": overlap}
    whole = model.perform(batch(), 33, generator=seed(), **settings)
    pieces = list(model.perform_chunks(batch(), 33, generator=seed(), **settings))
    assert torch.equal(torch.cat(pieces, dim=1), whole)
    held = 4 * overlap
    assert [piece.shape[1] for piece in pieces] == [1, 12 - held, 12, 8 + held]
    assert whole.shape == (2, 33, 3, 32, 32) and not whole.requires_grad
    latents = model.perform_latents(batch(), 33, generator=seed(), **settings)
    torch.testing.assert_close(model.codec.decode(latents).clamp(-1, 1), whole)


def test_a_model_performs_with_its_own_guidance_unless_told_else(model, monkeypatch):
    plain, guided = (model.perform_latents(batch(), 13, scales=s, generator=seed()) for s in (None, {"speak": 2.0}))
    assert not torch.equal(plain, guided)
    monkeypatch.setattr(model, "guidance", {"speak": 2.0})
    assert torch.equal(model.perform_latents(batch(), 13, generator=seed()), guided)
    assert torch.equal(model.perform_latents(batch(), 13, scales={"speak": 1.0}, generator=seed()), plain)


def test_pieces_equal_a_clip_that_is_held_whole(model):
    given, sampler = batch(), ClipSampler(model.prediction, model.coordinates, 2)
    clip, noise = model.codec.encode_frames(given.video_BTCHW[:, 0])[:, None], seed()
    with torch.no_grad():
        for keep, more in ((0, 3), (2, 3), (2, 2)):
            heard = shift_audio(model.conditions(given), 4 * (clip.shape[1] - 1 - keep) / FPS)
            clip = sampler.extend(model.backbone, clip, keep, more, heard, FPS, noise)
    made = model.perform_latents(given, 33, steps=2, chunk=12, generator=seed())
    assert torch.equal(made, clip)


def test_a_piece_is_there_before_the_next_is_made():
    model = spied()
    pieces = model.perform_chunks(batch(), 33, steps=1, chunk=8)
    for made in (0, 1, 2, 3, 4):
        next(pieces)
        assert len(model.backbone.calls) == made


def test_what_a_chunk_needs_does_not_grow_with_the_video():
    """The network sees as many frames in chunk 40 as in chunk 3, and no frame before its history."""
    model = spied()
    for _ in model.perform_chunks(batch(4 * 40 + 1), steps=1, chunk=4, history=2, frames=161):
        pass
    assert {noisy.shape[1] for noisy, _, _ in model.backbone.calls[2:]} == {1 + 2 + 1}


def test_every_chunk_sees_the_references_clean_and_follows_them():
    model, given = spied(), batch()
    made = model.perform_latents(given, 33, steps=2, chunk=8, overlap=1)
    pictures = model.codec.encode(given.references.pixels_BRCHW[:, 0][:, None])
    assert len(model.backbone.calls) == 2 * 4
    for _, _, conditions in model.backbone.calls:
        assert torch.equal(conditions.references.latents_BRCYX, pictures)
        assert conditions.references.mask_BR.all() and "references" not in conditions.keep
    torch.testing.assert_close(made[:, 1:], pictures.expand(-1, 8, -1, -1, -1))


def test_other_references_change_every_chunk_even_after_the_same_history(model):
    """A real network: latents are forced to be alike, so that what differs comes from the references alone."""
    given, answers = batch(), []
    other = replace(given, references=replace(given.references, pixels_BRCHW=-given.references.pixels_BRCHW))

    class Forget(nn.Module):
        def forward(self, noisy, t, conditions, fps):
            answers.append(model.backbone(noisy, t, conditions, fps))
            return torch.zeros_like(noisy)

    same = PerformanceModel(Forget(), **parts(), prediction=PredictClean(), coordinates=Absolute())
    for each in (given, other):
        same.perform_latents(each, 33, steps=1, chunk=8, generator=seed())
    first, second = answers[:4], answers[4:]
    assert len(second) == 4
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(first, second, strict=True))


def test_prompts_take_over_at_the_next_chunk():
    model = spied("prompt")
    timeline = [[Prompt(16 / FPS, "walks"), Prompt(9 / FPS, "nods")], [Prompt(0.0, "sings")]]
    made = model.perform_latents(batch(prompts=timeline), 33, steps=1, chunk=8)
    texts = [["calm", "sings"]] * 2 + [["nods", "sings"]] * 2 + [["walks", "sings"]] * 4
    expected = torch.stack([model.text(pair).tokens_BLD.mean((1, 2)) for pair in texts], dim=1)
    torch.testing.assert_close(made[:, 1:, 0, 0, 0], expected)


def test_a_bad_prompt_stops_the_video_before_it_begins():
    model = spied()
    pieces = model.perform_chunks(batch(prompts=[[], [Prompt(1.0, "x" * 600)]]), 33)
    with pytest.raises(ValueError, match="text of 600 bytes"):
        next(pieces)


def test_a_prompt_that_begins_when_the_video_has_ended_is_refused():
    given = batch(prompts=[[], [Prompt(1.0, "smile"), Prompt(33 / batch().fps, "wave")]])
    with pytest.raises(ValueError, match=r"prompt 'wave' begins at .* has ended; leave it out or make the video"):
        next(spied().perform_chunks(given, 33))


def test_a_negative_prompt_leads_away(model):
    given, scales = batch(), {"text": 3.0}
    plain, away, itself = (
        model.perform_latents(replace(given, negative=negative), 13, steps=1, scales=scales, generator=seed())
        for negative in (None, ["sad", "sad"], given.text)
    )
    assert (plain - away).abs().max() > 1e-4
    unguided = model.perform_latents(given, 13, steps=1, generator=seed())
    torch.testing.assert_close(itself, unguided)  # away from the prompt itself: nothing is left to guide


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": 10}, "chunk of 10 frames"),
        ({"history": 0}, "history of 0"),
        ({"frames": 34}, "34 frames are not 1 \\+ 4k; choose 33"),
        ({"chunk": 8, "overlap": 2}, "overlap of 2 latent frames, chunks have 2"),
        ({"scales": {"audio": 2.0}}, "unknown stream"),
    ],
)
def test_bad_settings_are_refused(model, change, message):
    with pytest.raises(ValueError, match=message):
        model.perform(batch(), **{"frames": 33, "steps": 1, **change})


def test_references_are_encoded_once_for_all_chunks(monkeypatch):
    model, encoded = spied(), []
    encode = model.codec.encode
    monkeypatch.setattr(model.codec, "encode", lambda video: encoded.append(video) or encode(video))
    request = batch()
    model.perform(request, frames=33, steps=1, chunk=8)
    pictures = request.references.pixels_BRCHW.flatten(0, 1).unsqueeze(1)
    assert len(model.backbone.calls) == 4
    assert sum(torch.equal(video, pictures) for video in encoded) == 1
