import pytest
import torch

from lpm.backbone import pictures_of
from lpm.types import Conditions, References


def shown(kinds, sub_kinds, mask, size=(4, 6)):
    latents = torch.randn(len(kinds), len(kinds[0]), 3, *size)
    return References(*(torch.tensor(x) for x in (kinds, sub_kinds, mask)), latents_BRCYX=latents)


@pytest.fixture
def first():
    return torch.randn(2, 3, 4, 6)


@pytest.fixture
def references():
    return shown([[0, 1, 2], [1, 2, 0]], [[0, 3, 0], [0, 7, 0]], [[True, True, True], [True, True, False]])


def test_every_reference_has_a_place_of_its_own(first, references):
    pictures = pictures_of(first, Conditions(None, None, None, references))
    assert pictures.place_BR.tolist() == [[0, 4, 5], [1, 12, 0]]
    torch.testing.assert_close(pictures.others_BRCYX[0], references.latents_BRCYX[0])


def test_what_is_not_shown_is_nothing(first, references):
    pictures = pictures_of(first, Conditions(None, None, None, references))
    assert pictures.others_BRCYX[1, 2].abs().max() == 0 < pictures.others_BRCYX[1, 1].abs().max()
    hidden = Conditions(None, None, None, references, keep={"references": torch.tensor([True, False])})
    others = pictures_of(first, hidden).others_BRCYX
    assert others[1].abs().max() == 0 < others[0].abs().max()
    assert pictures_of(first, Conditions(None, None, None, None)).others_BRCYX.shape == (2, 0, 3, 4, 6)


def test_references_of_another_size_are_resized(first):
    references = shown([[0], [0]], [[0], [0]], [[True], [True]], size=(8, 12))
    references.latents_BRCYX = torch.full_like(references.latents_BRCYX, 0.5)
    others = pictures_of(first, Conditions(None, None, None, references)).others_BRCYX
    assert others.shape == (2, 1, 3, 4, 6)
    torch.testing.assert_close(others, torch.full_like(others, 0.5))
