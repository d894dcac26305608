import pytest
import torch

from lpm.backbone import AudioContext, AudioSummary, TextContext, latent_spans
from lpm.types import AudioFeatures, TextFeatures

FPS = 24.0


@pytest.fixture
def context():
    torch.manual_seed(0)
    return AudioContext(audio_width=6, width=8, past=0.15, future=0.1).double()


@pytest.fixture(params=[AudioContext, AudioSummary])
def either(request):
    torch.manual_seed(0)
    settings = {"rate": 50.0} if request.param is AudioSummary else {}
    return request.param(audio_width=6, width=8, past=0.15, future=0.1, **settings).double()


def stream(seconds=2.0, start=-0.5, batch=2, rate=50.0):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(batch, int(seconds * rate), 6, generator=generator, dtype=torch.float64)
    return AudioFeatures(tokens.requires_grad_(), rate, start)


def test_latent_frame_hears_its_window_only(either):
    audio = stream()
    windows = either(audio, 2, 5, FPS)
    for frame, (_, end) in enumerate(latent_spans(5, FPS)):
        gradient = torch.autograd.grad(windows[:, frame].square().sum(), audio.tokens_BAD, retain_graph=True)[0]
        heard = gradient.abs().sum((0, 2)).nonzero().flatten()
        begins, ends = audio.start + heard.min() / 50, audio.start + (heard.max() + 1) / 50
        assert end + 0.1 - 1 / 50 < ends <= end + 0.1 + 1e-6
        assert begins >= end - 4 / FPS - 0.15 - 2 / 50


def test_moving_stream_and_clip_together_changes_nothing(either):
    """Chunks that begin later hear the same audio: 4 frames are 1/6 s, 50 Hz tokens move by 25 in half a second."""
    audio = stream()
    later = AudioFeatures(audio.tokens_BAD, audio.rate, audio.start - 0.5)
    torch.testing.assert_close(either(audio, 2, 7, FPS)[:, 4:], either(later, 2, 4, FPS)[:, 1:])


def test_chunk_of_a_long_stream_costs_what_it_costs_in_a_short_one(either):
    projected = []
    either.project.register_forward_hook(lambda _, inputs, output: projected.append(inputs[0].shape[1]))
    late = stream(seconds=600.0, start=-300.0)
    short = AudioFeatures(late.tokens_BAD[:, 300 * 50 - 25 : 300 * 50 + 75], 50.0, -0.5)
    torch.testing.assert_close(either(late, 2, 5, FPS), either(short, 2, 5, FPS))
    assert projected[0] == projected[1] < 60


def test_tokens_outside_the_stream_are_null(context):
    windows = context(stream(seconds=0.5, start=0.0), 2, 7, FPS)
    torch.testing.assert_close(windows[:, 0, 0], context.null.expand(2, -1))
    torch.testing.assert_close(windows[:, -1], context.null.expand(2, windows.shape[2], -1))


def test_hidden_rows_hear_null_and_kept_rows_do_not_change(either):
    audio = stream()
    windows = either(audio, 2, 5, FPS, torch.tensor([True, False]))
    torch.testing.assert_close(windows[0], either(audio, 2, 5, FPS)[0])
    torch.testing.assert_close(windows[1], either(None, 2, 5, FPS)[1].expand_as(windows[1]))


def test_summary_has_few_tokens_at_any_frame_rate_and_one_audio_rate():
    summary = AudioSummary(6, 8, past=0.15, future=0.1, rate=50.0, tokens=3).double()
    assert [summary(stream(), 2, 5, fps).shape for fps in (12.0, 24.0, 30.0)] == [(2, 5, 3, 8)] * 3
    assert summary(None, 2, 5, FPS).shape == (2, 5, 3, 8)
    with pytest.raises(ValueError, match="audio comes at 25 tokens a second, not 50"):
        summary(stream(rate=25.0), 2, 5, FPS)


def test_prompt_or_null_is_read_never_both():
    torch.manual_seed(0)
    context = TextContext(6, 8)
    text = TextFeatures(torch.randn(3, 2, 6), torch.tensor([[True, True], [False, False], [True, False]]))
    read = context(text, 3, torch.tensor([True, True, False])).mask_BL
    assert read.tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    assert context(None, 3).mask_BL.tolist() == [[True]] * 3


@pytest.mark.parametrize("ours", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("theirs", [torch.float32, torch.bfloat16])
def test_a_prompt_is_read_whatever_the_precision_of_its_encoder(ours, theirs):
    torch.manual_seed(0)
    context, tokens, mask = TextContext(6, 8), torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool)
    expected = context(TextFeatures(tokens, mask), 2).tokens_BLD
    read = context.to(ours)(TextFeatures(tokens.to(theirs), mask), 2).tokens_BLD
    assert read.dtype == ours
    torch.testing.assert_close(read.float(), expected, atol=0.02, rtol=0)
