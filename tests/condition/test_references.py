import pytest
import torch

from lpm.condition import check_references, encode_references
from lpm.types import References


def references(kinds, mask=None, **known):
    kind = torch.tensor([kinds])
    mask = torch.ones_like(kind, dtype=torch.bool) if mask is None else torch.tensor([mask])
    sub_kind = torch.tensor([[kinds[:at].count(name) for at, name in enumerate(kinds)]])
    return References(kind, sub_kind, mask, **known)


def still(video_BTCHW):
    assert video_BTCHW.shape[1] == 1
    return video_BTCHW[..., ::8, ::8]


def test_pictures_are_encoded_one_by_one():
    pixels = torch.rand(2, 3, 3, 16, 24)
    pictures = References(torch.zeros(2, 3).long(), torch.zeros(2, 3).long(), torch.eye(2, 3).bool(), pixels)
    encoded = encode_references(still, pictures)
    assert torch.equal(encoded.latents_BRCYX, pixels[..., ::8, ::8])


def test_no_view_is_shown_twice():
    twice = References(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 2, 2]]), torch.ones(1, 3).bool())
    with pytest.raises(ValueError, match="body references show the same twice; keep one of each"):
        check_references(twice)
    twice.mask_BR[0, 2] = False
    check_references(twice)


def test_known_latents_are_not_encoded_again():
    pictures = references([0], latents_BRCYX=torch.zeros(1, 1, 4, 2, 2))
    assert encode_references(None, pictures) is pictures


def test_thirteen_references_pass_and_padding_is_not_counted():
    check_references(references([0] + [1] * 4 + [2] * 8))
    check_references(references([0, 0], mask=[True, False]))


@pytest.mark.parametrize(
    ("kinds", "mask", "message"),
    [
        ([0], [False], "0 references; give at least one"),
        ([2] * 9, [True] * 9, "9 expression references are above the limit of 8"),
        ([1] * 5, [True] * 5, "5 body references are above the limit of 4"),
        ([0, 0], [True, True], "2 global references"),
    ],
)
def test_wrong_counts_are_refused(kinds, mask, message):
    with pytest.raises(ValueError, match=message):
        encode_references(still, references(kinds, mask))
