import torch

from lpm.codec.loss import importance, moving_loss, reconstruction_loss


def blinking_square() -> torch.Tensor:
    """A grey clip whose middle switches between black and white."""
    video = torch.zeros(1, 5, 3, 32, 32)
    video[:, ::2, :, 12:20, 12:20] = 1.0
    video[:, 1::2, :, 12:20, 12:20] = -1.0
    return video


def test_importance_is_one_on_average_and_high_where_it_moves():
    weight = importance(blinking_square())
    torch.testing.assert_close(weight.mean(), torch.tensor(1.0))
    assert weight[..., 14:18, 14:18].min() > 3 * weight[..., :6, :6].max()


def test_an_error_costs_more_on_the_moving_part():
    video = blinking_square()
    inside, outside = video.clone(), video.clone()
    inside[..., 14:18, 14:18] += 0.2
    outside[..., 2:6, 2:6] += 0.2
    assert reconstruction_loss(inside, video) > 3 * reconstruction_loss(outside, video)
    assert reconstruction_loss(video, video) == 0


def test_flicker_costs_more_than_the_same_error_held():
    video = torch.zeros(1, 5, 3, 16, 16)
    held, flicker = video + 0.1, video + 0.1
    flicker[:, ::2] -= 0.2
    assert reconstruction_loss(flicker, video) > reconstruction_loss(held, video)


def test_pace_wants_the_mean_where_absolute_errors_want_the_median():
    """Of eleven clips that look alike one opens: a guess that opens a little costs less with pace, more without."""
    still = torch.zeros(1, 5, 3, 16, 16)
    opens = still.clone()
    opens[:, 2, :, 6:10, 6:10] = 1.0

    def cost(openness, pace):
        clips = [still] * 10 + [opens]
        return sum(reconstruction_loss(opens * openness, clip, edges=0, flicker=0, pace=pace) for clip in clips)

    assert cost(0.0, pace=0.0) < cost(0.1, pace=0.0)
    assert cost(0.0, pace=1000.0) > cost(0.1, pace=1000.0)


def test_the_frame_that_moves_weighs_more_than_those_that_rest():
    video = torch.zeros(1, 9, 3, 16, 16)
    video[:, 4, :, 6:10, 6:10] = 1.0
    weight = importance(video)[0, :, 0, 8, 8]
    assert weight.argmax() == 4
    assert weight[4] > 3 * weight[0]


def test_a_moved_picture_costs_more_the_farther_it_is_off():
    """Flat error alone is the same for every shift of a thin line; the averaged one is not."""
    video = torch.zeros(1, 2, 3, 32, 32)
    video[..., 13] = 1.0
    near, far = video.roll(2, dims=-1), video.roll(10, dims=-1)
    assert moving_loss(video, video) == 0
    assert (near - video).abs().mean() == (far - video).abs().mean()
    assert moving_loss(near, video) < 0.8 * moving_loss(far, video)
