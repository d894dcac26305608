import pytest
import torch

from lpm.backbone.timing import latent_spans, latent_states, window_index


@pytest.mark.parametrize("fps", [12.0, 24.0, 25.0, 29.97])
def test_spans_tile_time(fps):
    spans = latent_spans(5, fps)
    assert spans[0] == (0.0, 1 / fps)
    assert all(a[1] == pytest.approx(b[0]) for a, b in zip(spans, spans[1:]))
    assert spans[-1][1] == pytest.approx(17 / fps)


def test_state_of_a_latent_frame_is_that_of_its_last_video_frame():
    assert latent_states(torch.arange(9)[None]).tolist() == [[0, 4, 8]]


@pytest.mark.parametrize("start", [0.0, -2.5, -0.013])
@pytest.mark.parametrize("rate", [50.0, 12.5])
def test_window_closes_at_its_end_and_not_a_token_before(rate, start):
    ends = [end for _, end in latent_spans(7, 24.0)]
    index, time = window_index(ends, 0.5, rate, start)
    assert index.shape == time.shape == (7, round(0.5 * rate))
    slack = torch.tensor(ends).double() - time[:, -1]
    assert (slack > -1e-6).all() and (slack < 1 / rate).all()
    assert (index.diff(dim=1) == 1).all()
    torch.testing.assert_close(time, start + (index + 1).double() / rate)
