"""``lpm.build``: specs become objects, mistakes become one line."""

import sys
from pathlib import Path

import pytest

from lpm.build import build, build_file, closest, locate

PARTS = """
from collections.abc import Callable

class Wheel:
    def __init__(self, radius: float = 1.0):
        if radius <= 0:
            raise ValueError(f"radius {radius} is not above 0; give the radius in metres")
        self.radius = radius

class Cart:
    def __init__(self, wheel: Wheel, count: int = 4, spare: Callable[[], Wheel] | None = None):
        self.wheel, self.count, self.spare = wheel, count, spare

class Stone:
    pass

def small_wheel() -> Wheel:
    return Wheel(0.1)

def vague():
    return Wheel()
"""


@pytest.fixture(autouse=True)
def _parts(tmp_path, monkeypatch):
    (tmp_path / "cart_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("cart_parts", None)


def wheel(**arguments: object) -> dict[str, object]:
    return {"class_path": "cart_parts.Wheel", "init_args": arguments}


def cart(**arguments: object) -> dict[str, object]:
    return {"class_path": "cart_parts.Cart", "init_args": arguments}


def test_nested_parts_are_built():
    built = build(cart(wheel=wheel(radius=2.5), count=3))
    assert (built.wheel.radius, built.count, built.spare) == (2.5, 3, None)


def test_a_builder_function_serves_as_class_path():
    assert build("cart_parts.small_wheel").radius == 0.1
    assert build(cart(wheel={"class_path": "cart_parts.small_wheel"})).wheel.radius == 0.1


def test_a_callable_argument_stays_a_callable():
    assert build(cart(wheel=wheel(), spare="cart_parts.small_wheel")).spare().radius == 0.1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (cart(wheel=wheel(radios=2)), "wheel: option 'radios' is not accepted; did you mean 'radius'?"),
        (cart(wheel=wheel(radius="big")), "wheel.radius: expected float, got 'big'"),
        (cart(wheel=wheel(radius=-1)), "radius -1.0 is not above 0; give the radius in metres"),
        (cart(), "the following arguments are required: wheel"),
        (cart(wheel="cart_parts.Whele"), "module 'cart_parts' has no attribute 'Whele'; did you mean 'Wheel'?"),
        (cart(wheel="cart_parts.Stone"), "cart_parts.Stone does not correspond to a subclass of Wheel"),
        ("cart_parts.Crat", "module 'cart_parts' has no 'Crat'; did you mean 'Cart'?"),
        ("lpm.biuld.build", "no module named 'lpm.biuld', in 'lpm.biuld.build'; did you mean 'build'?"),
        ("Cart", "'Cart' is no import path"),
        ("cart_parts.vague", "neither a class nor a function with a class as return annotation"),
        ({"init_args": {}}, "a spec needs a class_path, but has 'init_args'"),
        ({"class_path": "cart_parts.Stone", "args": 1}, "not 'args'"),
    ],
)
def test_mistakes_are_one_line(spec, message):
    with pytest.raises(ValueError) as caught:
        build(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_dependency_is_not_mistaken_for_a_missing_module(tmp_path):
    (tmp_path / "needy.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        locate("needy.Thing")


def test_files_resolve_interpolations(tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text("size: 7.0\nmodel: {class_path: cart_parts.Wheel, init_args: {radius: '${size}'}}\n")
    assert build_file(file, "model").radius == 7.0
    with pytest.raises(ValueError, match="has no 'modle'; it has size, model"):
        build_file(file, "modle")
    with pytest.raises(FileNotFoundError):
        build_file(tmp_path / "none.yaml")


def test_closest_says_nothing_about_strangers():
    assert closest("zzz", ["fit", "test"]) == ""
