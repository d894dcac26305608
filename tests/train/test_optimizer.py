import copy

import pytest
import torch
from torch import nn

from lpm.train import MuonAdamW
from lpm.train.optimizer import orthogonal


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3)).double()


def groups(net: nn.Sequential, lr: float = 0.01) -> list[dict]:
    matrices = [p for p in net.parameters() if p.ndim == 2]
    others = [p for p in net.parameters() if p.ndim != 2]
    return [{"params": matrices, "lr": lr, "matrices": True}, {"params": others, "lr": lr, "matrices": False}]


def train(net: nn.Sequential, optimizer: torch.optim.Optimizer, steps: int, start: int = 0) -> float:
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, dtype=torch.float64, generator=generator)
        loss = (net(x) - x[:, :3].sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (8, 8)])
def test_orthogonal_keeps_the_singular_vectors_and_levels_the_values(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonal(matrix) @ right.T
    torch.testing.assert_close(inside - inside.diag().diag(), torch.zeros_like(inside), atol=1e-9, rtol=0)
    assert values.max() > 1.5 * values.min()
    assert inside.diag().min() > 0.3 and inside.diag().max() < 1.3


def test_matrices_step_as_torch_muon_does():
    """torch.optim.Muon rounds to bfloat16, hence the tolerance."""
    ours, theirs = network(), network()
    matrices = [p for p in theirs.parameters() if p.ndim == 2]
    muon = torch.optim.Muon(matrices, lr=0.01, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    optimizer = MuonAdamW(groups(ours))
    for seed in range(3):
        torch.manual_seed(seed)
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        optimizer.step()
        muon.step()
    for mine, other, begin in zip(ours.parameters(), theirs.parameters(), network().parameters(), strict=True):
        if mine.ndim == 2:
            assert (mine - other).norm() < 0.03 * (other - begin).norm()


def test_the_rest_steps_as_adamw_does():
    ours, theirs = network(), network()
    optimizer = MuonAdamW(groups(ours))
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.01)
    for seed in range(3):
        torch.manual_seed(seed)
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        optimizer.step()
        adamw.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other) == (mine.ndim != 2)


def test_it_learns_and_obeys_a_schedule():
    net = network()
    optimizer = MuonAdamW(groups(net, lr=0.02))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    before = copy.deepcopy(net.state_dict())
    train(net, optimizer, 1)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())  # the rate is 0
    schedule.lr_lambdas = [lambda step: 1.0] * 2
    schedule.step()
    first = train(net, optimizer, 1)
    assert train(net, optimizer, 150) < 0.3 * first


def test_resumed_equals_uninterrupted():
    whole = network()
    train(whole, MuonAdamW(groups(whole)), 6)
    half = network()
    optimizer = MuonAdamW(groups(half))
    train(half, optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    fresh = MuonAdamW(groups(half))
    fresh.load_state_dict(saved)
    train(half, fresh, 3, start=3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, half.state_dict()[name])


def test_matrices_may_be_all_that_is_trained():
    """As with LoRA."""
    matrix = nn.Parameter(torch.ones(2, 3))
    optimizer = MuonAdamW([{"params": [matrix], "matrices": True}], lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    matrix.square().sum().backward()
    optimizer.step()
    assert not torch.equal(matrix, torch.ones(2, 3))


def test_a_group_of_matrices_takes_matrices_only():
    with pytest.raises(ValueError, match="not 2 dimensions"):
        MuonAdamW([{"params": [nn.Parameter(torch.zeros(3))], "matrices": True}])
