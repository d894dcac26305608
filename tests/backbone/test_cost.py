"""Operations on paper equal those that PyTorch counts."""

from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lpm.backbone import puppet, wan
from lpm.backbone.context_parallel import share_sequence
from lpm.backbone.cost import ClipShape, forward_flops
from lpm.train.rehearse import fake_inputs

hearing = partial(wan, width=96, depth=3, heads=4, hidden=384, channels=8, text_width=64, waves=32, audio_width=32)
mute = partial(wan, width=96, depth=3, heads=4, hidden=384, channels=8, text_width=64, waves=32)
small = partial(puppet, channels=4, width=32, heads=2, audio_width=16, text_width=16)
plain = partial(puppet, channels=4, width=32, heads=2, audio_width=16, text_width=16, anchor=False, summary=0)
CLIP = ClipShape(batch=2, frames=5, height=8, width=10, text=7, audio=200, rates=(50.0, 12.5))


def counted(network, clip):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network(*fake_inputs(network, clip), clip.fps)
    return counter.get_total_flops()


def on_meta(size):
    with torch.device("meta"):
        return size()


@pytest.mark.parametrize("size", [hearing, mute, small, plain], ids=["hearing", "mute", "puppet", "plain"])
@pytest.mark.parametrize("references", [0, 2])
def test_operations_are_those_that_pytorch_counts(size, references):
    clip = ClipShape(**{**vars(CLIP), "references": references})
    network = on_meta(size)
    assert forward_flops(network, clip) == counted(network, clip)


def test_operations_of_one_process_of_four():
    network = on_meta(hearing)
    shared = share_sequence(on_meta(hearing), 4, 1, lambda x: x)
    assert forward_flops(network, CLIP, context=4) == counted(shared, CLIP)
    assert forward_flops(network, CLIP, context=4) < 0.6 * forward_flops(network, CLIP)
