import pytest
import torch
from safetensors import safe_open

from lpm.codec import TinyCodec, load_codec, save_codec, tiny_codec

VIDEO = torch.linspace(-1, 1, 5 * 3 * 16 * 16).reshape(1, 5, 3, 16, 16)


def make_codec() -> TinyCodec:
    torch.manual_seed(1)
    codec = TinyCodec(channels=4, width=8, blocks=1)
    codec.calibrate([VIDEO])
    return codec


def test_saved_equals_loaded(tmp_path):
    codec = make_codec()
    save_codec(codec, tmp_path / "codec.safetensors")
    loaded = load_codec(tmp_path / "codec.safetensors")
    assert torch.equal(loaded(VIDEO), codec(VIDEO))
    assert (loaded.channels, loaded.width, loaded.blocks) == (4, 8, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["codec.safetensors"]


def test_half_precision_file_is_close_and_loads_as_float32(tmp_path):
    codec = make_codec()
    save_codec(codec, tmp_path / "codec.safetensors", half=True)
    loaded = load_codec(tmp_path / "codec.safetensors")
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(loaded(VIDEO), codec(VIDEO), atol=5e-3, rtol=0)


def test_builder_freezes_unless_told_otherwise(tmp_path):
    path = tmp_path / "codec.safetensors"
    save_codec(make_codec(), path)
    assert not any(p.requires_grad for p in tiny_codec(path).parameters())
    assert all(p.requires_grad for p in tiny_codec(path, trainable=True).parameters())


def test_missing_foreign_and_broken_files_raise(tmp_path):
    with pytest.raises(ValueError, match="do not exist; train them"):
        load_codec(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_codec(tmp_path / "broken.safetensors")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="lack the sizes"):
        load_codec(tmp_path / "foreign.safetensors")


def test_a_codec_of_an_older_version_is_named_with_what_differs(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "older.safetensors"
    save_codec(make_codec(), path)
    with safe_open(path, framework="pt") as file:
        sizes, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = next(iter(tensors))
    save_file({**tensors, name: torch.zeros(3)}, path, sizes)
    with pytest.raises(ValueError, match="of another version of lpm, train it again: 1 misshapen"):
        load_codec(path)
