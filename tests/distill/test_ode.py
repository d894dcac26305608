import pytest
import torch

from lpm.distill import Chance, OdeRegression, Recorder, record_trajectories
from lpm.flow import PredictClean, PredictVelocity, Residual
from lpm.sample import euler, guide, heun, noise_levels
from lpm.sample.performance import PerformanceModel
from lpm.types import Batch, Conditions
from tiny_streams import FPS, at, dit
from tiny_students import hidden_somewhere, tiny_student, without_gradient


def test_points_lie_on_the_solvers_path():
    def denoise(x, t):
        return torch.tanh(x) * (1 - t)

    noise = torch.randn(2, 3, 4, 1, 1)
    for solver in (euler, heun):
        recorder, times = Recorder(2, solver), noise_levels(6, 3.0)
        end = recorder(denoise, noise, times)
        points = recorder.points()
        assert points.shape[:3] == (2, 4, 3) and torch.equal(points[:, 0], noise) and torch.equal(points[:, -1], end)
        torch.testing.assert_close(end, solver(denoise, noise, times))
        torch.testing.assert_close(points[:, 1], solver(denoise, noise, times[:3]))
    with pytest.raises(ValueError, match="do not divide by 4"):
        Recorder(4)(denoise, noise, times)


class Teacher(PerformanceModel):
    """The network of tiny_streams, bidirectional, with conditions that are encoded already."""

    def __init__(self, known):
        student, silent = tiny_student(), torch.nn.Identity()
        super().__init__(dit(), student.codec, silent, silent, silent, PredictVelocity(), Residual(0.5))
        self.known = known

    def conditions(self, batch):
        return self.known


@torch.no_grad()
@pytest.mark.parametrize("piece", [8, 16])
def test_a_trajectory_goes_from_noise_to_its_end_given_clean_pieces_before_it(piece):
    _, conditions = hidden_somewhere(5)
    model = Teacher(conditions)
    video = torch.rand(2, 17, 3, 32, 32, dtype=torch.float64) * 2 - 1
    batch = Batch(["a", "b"], FPS, None, None, 0.0, ["", ""], None, None, video_BTCHW=video)
    scales = {"speak": 1.5}
    points = record_trajectories(model, batch, 17, piece, 3, 2, 1, scales, torch.Generator().manual_seed(3))
    assert points.shape == (2, 4, 5, 4, 4, 4)
    path = model.coordinates.enter(points.flatten(0, 1)).unflatten(0, (2, 4))
    noise = torch.randn(2, 4 if piece == 16 else 2, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(path[:, 0, 1 : 1 + noise.shape[1]], noise.double())
    clean, made = path[:, -1], piece // 4
    for start in range(0, 4, made):
        keep = min(1, start)
        given = torch.cat([clean[:, :1], clean[:, 1 + start - keep : 1 + start]], dim=1)
        heard = at(conditions, start - keep, 1)

        def denoise(noisy, t, given=given, heard=heard):
            whole = torch.cat([given, noisy], dim=1)
            t_BT = torch.full(whole.shape[:2], t, dtype=torch.float64)
            t_BT[:, : given.shape[1]] = 0
            output = guide(model.backbone, whole, t_BT, heard, FPS, scales)
            return model.prediction.clean(output, whole, t_BT)[:, given.shape[1] :]

        part = slice(1 + start, 1 + start + made)
        for index, times in enumerate((noise_levels(6, 3.0)[:3], noise_levels(6, 3.0)[2:5], noise_levels(6, 3.0)[4:])):
            torch.testing.assert_close(euler(denoise, path[:, index, part], times), path[:, index + 1, part])


LEVELS = tuple(noise_levels(3, 3.0)[:-1])


def spied(student, answer=None):
    """Let the student's network tell what it was given, and answer as told."""
    calls, own = [], student.backbone.forward_clip

    def forward_clip(*args):
        calls.append(args)
        return own(*args) if answer is None else answer(*args)

    student.backbone.forward_clip = forward_clip
    return calls


def test_every_chunk_starts_from_a_point_and_looks_back_to_the_clean_end():
    student = tiny_student()
    points = torch.randn(2, 4, 9, 4, 4, 4, dtype=torch.float64)
    points[:, :, 0] = points[:, :1, 0]
    path = student.coordinates.enter(points.flatten(0, 1)).unflatten(0, (2, 4))
    calls = spied(student, lambda noisy, *_: torch.zeros_like(noisy))
    seen, histories = set(), set()
    for step in range(12):
        OdeRegression((0.3, 0.0))(student, points, LEVELS, Conditions(), FPS, Chance(0, step))
        noisy, t_BT, _, _, history, t_history_BT = calls[-1]
        assert torch.equal(noisy[:, 0], points[:, 0, 0]) and not t_BT[:, 0].any()
        for row in range(2):
            for chunk in range(4):
                part = slice(1 + 2 * chunk, 3 + 2 * chunk)
                (level,) = set(t_BT[row, part].tolist())
                index = min(range(3), key=lambda i: abs(LEVELS[i] - level))
                assert torch.equal(noisy[row, part], path[row, index, part])
                seen.add((row, chunk, index))
            (level,) = set(t_history_BT[row, 1:].tolist())
            histories.add((row, round(level, 6)))
            rest = history[row, 1:] - (1 - level) * path[row, -1, 1:]
            assert rest.std().item() == pytest.approx(level, rel=0.2, abs=1e-6)
    assert len(seen) == 2 * 4 * 3 and histories == {(row, level) for row in range(2) for level in (0.3, 0.0)}


def test_a_perfect_student_has_no_loss():
    student = tiny_student()
    student.prediction = PredictClean()
    points = torch.randn(2, 4, 5, 4, 4, 4, dtype=torch.float64)
    points[:, :, 0] = points[:, :1, 0]
    clean = student.coordinates.enter(points[:, -1])
    spied(student, lambda *_: clean)
    loss, parts = OdeRegression()(student, points, LEVELS, Conditions(), FPS, Chance(0, 0))
    assert loss == 0 and set(parts) <= {"loss_T0", "loss_T1", "loss_T2"} and not any(parts.values())
    spied(student, lambda *_: clean + 0.5)
    assert OdeRegression()(student, points, LEVELS, Conditions(), FPS, Chance(0, 0))[0].item() == pytest.approx(0.25)


def test_gradient_reaches_every_parameter():
    student = tiny_student()
    latents, conditions = hidden_somewhere(9)
    points = torch.randn(2, 4, *latents.shape[1:], dtype=torch.float64)
    points[:, :, 0] = latents[:, None, 0]
    OdeRegression()(student, points, LEVELS, conditions, FPS, Chance(0, 0))[0].backward()
    assert without_gradient(student.backbone) == []


def test_clips_must_be_whole_chunks_of_a_network_that_streams():
    student, points = tiny_student(), torch.zeros(1, 4, 4, 4, 4, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"4 latent frames are not 1 \+ 2 n"):
        OdeRegression()(student, points, LEVELS, Conditions(), FPS, Chance(0, 0))
    student.backbone = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"wrap it in lpm\.backbone\.CausalDiT"):
        OdeRegression()(student, points, LEVELS, Conditions(), FPS, Chance(0, 0))
    with pytest.raises(ValueError, match="history at noise levels"):
        OdeRegression((1.0,))
