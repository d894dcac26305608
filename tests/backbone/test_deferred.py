"""A network that is built late equals one that is built at once, and never exists as a whole."""

from functools import partial
from itertools import chain

import pytest
import torch
from torch import nn

from lpm.backbone import DeferredDiT, pretrained_dit, puppet_small, recomputed, save_dit, wan
from lpm.backbone.deferred import materialise
from lpm.nn import KeysDiffer

SIZE = {"width": 24, "depth": 2, "heads": 2, "hidden": 32, "channels": 4, "text_width": 8, "waves": 16}
SPEC = {"class_path": "lpm.backbone.wan", "init_args": {**SIZE, "audio_width": 8}}
hearing = partial(wan, **SIZE, audio_width=8)


@pytest.fixture
def folder(tmp_path):
    """Weights of a network without audio paths, in several files."""
    torch.manual_seed(1)
    tensors = {name: torch.randn_like(tensor) for name, tensor in wan(**SIZE).state_dict().items()}
    tensors.pop("text.null")
    save_dit(tensors, SPEC, tmp_path / "wan", shard="10KB")
    return str(tmp_path / "wan")


@pytest.mark.parametrize("recompute", [0, 1])
def test_weights_of_a_folder_arrive_and_audio_is_mute(folder, recompute):
    late, whole = DeferredDiT(hearing, folder, recompute).build().state_dict(), pretrained_dit(folder).state_dict()
    assert late.keys() == whole.keys()
    fresh = [name for name in whole if any(part in name for part in (".audio.", "speak.", "listen.", "text.null"))]
    for name in whole.keys() - set(fresh):
        torch.testing.assert_close(late[name], whole[name])
    assert not late["blocks.1.cross.audio.key_value.weight"][SIZE["width"] :].any()
    assert late["blocks.1.cross.audio.key_value.weight"][: SIZE["width"]].any()


@pytest.mark.parametrize("recompute", [0, 1])
def test_a_frozen_voice_is_frozen_when_it_is_built(folder, recompute):
    late, whole = DeferredDiT(hearing, folder, recompute), pretrained_dit(folder)
    late.freeze_voices_(["listen"])
    whole.freeze_voices_(["listen"])
    built = late.build()
    learns = [parameter.requires_grad for parameter in built.parameters()]
    assert learns == [parameter.requires_grad for parameter in whole.parameters()]
    assert not all(learns) and any(parameter.requires_grad for parameter in built.speak.parameters())


@pytest.mark.parametrize("size", [puppet_small, hearing])
def test_fresh_values_are_those_of_the_constructor(size):
    late, whole = DeferredDiT(size).build(), size()
    constant = [name for name, tensor in whole.named_parameters() if tensor.unique().numel() <= 2]
    assert constant
    for name, tensor in whole.state_dict().items():
        other = late.state_dict()[name]
        if name in constant:
            torch.testing.assert_close(other, tensor)
        elif tensor.numel() > 200:
            torch.testing.assert_close(other.std(), tensor.std(), rtol=0.2, atol=1e-3)


def test_only_one_part_has_storage_before_it_is_finished():
    seen = []

    def finish(part):
        seen.append(sum(not p.is_meta for p in chain(part.parameters())))
        for module in part.modules():  # as if sharded away
            for name in module._parameters:
                module._parameters[name] = None

    network = DeferredDiT(hearing).build(finish=finish)
    block = sum(1 for _ in hearing().blocks[0].parameters())
    rest = sum(1 for name, _ in hearing().named_parameters() if not name.startswith("blocks."))
    assert seen == [block, block, rest]
    assert list(network.parameters()) == []


def test_weights_that_do_not_fit_are_listed(folder):
    with pytest.raises(ValueError, match=r"blocks.0.feed_forward.0.bias +misshapen +\(40,\) +\(32,\)"):
        DeferredDiT(partial(wan, **{**SIZE, "hidden": 40}), folder).build()
    with pytest.raises(ValueError, match=r"blocks\.2\.attention.out.bias +missing"):
        DeferredDiT(partial(wan, **{**SIZE, "depth": 3}), folder).build()
    with pytest.raises(ValueError, match="holds no config"):
        DeferredDiT(hearing, f"{folder}/nothing").build()


@pytest.mark.parametrize("recompute", [0, 1])
def test_a_voice_is_there_whole_or_not_at_all(tmp_path, recompute):
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    state = hearing().state_dict()
    speaks = {name: t for name, t in state.items() if not name.startswith(("listen.", "blocks.1.cross.audio."))}
    save_dit(speaks, SPEC, whole)
    for loaded in (pretrained_dit(whole).state_dict(), DeferredDiT(hearing, whole, recompute).build().state_dict()):
        assert all(torch.equal(loaded[name], tensor) for name, tensor in speaks.items())
        assert not loaded["blocks.1.cross.audio.key_value.weight"][SIZE["width"] :].any()
    lost = ["blocks.0.cross.audio.out.weight", "speak.null"]
    save_dit({name: tensor for name, tensor in speaks.items() if name not in lost}, SPEC, broken)
    for load in (partial(pretrained_dit, broken), DeferredDiT(hearing, broken, recompute).build):
        with pytest.raises(KeysDiffer) as caught:
            load()
        assert [(fault.name, fault.kind) for fault in caught.value.faults] == [(name, "missing") for name in lost]


def test_a_module_that_cannot_be_reset_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match=r"Odd cannot be built late.*reset_parameters"):
        materialise([Odd()])


def test_recomputing_every_other_block():
    network = recomputed(hearing(), every=2)
    wrapped = ["_checkpoint_wrapped_module" in dict(block.named_children()) for block in network.blocks]
    assert wrapped == [True, False]
    assert network.state_dict().keys() == hearing().state_dict().keys()
    with pytest.raises(ValueError, match="every of 0 is below 1"):
        recomputed(hearing(), every=0)
