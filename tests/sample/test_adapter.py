"""LoRA through PEFT: at rest it changes nothing, only it trains, and PEFT itself reads what is saved."""

import copy
import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper, offload_wrapper

from lpm.backbone import puppet, puppet_small, recomputed
from lpm.build import build
from lpm.cli.errors import one_line
from lpm.codec import TinyCodec
from lpm.condition import ByteText, LogMelEncoder
from lpm.flow import PredictClean, Residual
from lpm.nn import KeysDiffer
from lpm.sample import LoRA, PerformanceModel, load_adapter, merge_adapter, save_adapter
from lpm.sample.adapter import is_at_rest
from lpm.sample.tensors import load_weights, own_weights
from lpm.types import Adapter, Conditions

peft = pytest.importorskip("peft")
PARTS = {"channels": 4, "audio_width": 8, "text_width": 8}


def make(adapter=None, recompute=0, width=32, depth=2):
    torch.manual_seed(0)
    network = puppet(**PARTS, width=width, depth=depth, heads=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    network = recomputed(network, recompute) if recompute else network
    speak, listen = LogMelEncoder(8, 50.0, mels=16), LogMelEncoder(8, 12.5, mels=16)
    return PerformanceModel(
        network, TinyCodec(4, 8, 1).eval(), ByteText(8), speak, listen, PredictClean(), Residual(1.0), adapter=adapter
    ).eval()


def use(model, amount=0.1):
    """Give the adapter something to say."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += amount * torch.randn(parameter.shape, generator=generator)
    return model


def run(model):
    latents = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.backbone(latents, torch.full((1, 3), 0.5), Conditions(), 24.0)


def test_at_rest_it_changes_nothing_and_trains_little():
    plain, adapted = make(), make(LoRA(rank=2))
    assert isinstance(LoRA(), Adapter)
    assert torch.equal(run(adapted), run(plain)) and is_at_rest(adapted.backbone)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained and all(".lora_" in name for name in trained)
    for block in ("attention.qkv", "cross.audio.out", "feed_forward.2"):
        assert any(block in name for name in trained)
    used = use(adapted)
    assert not torch.equal(run(used), run(plain)) and not is_at_rest(used.backbone)


def test_parts_that_are_listed_train_whole():
    adapted = make(LoRA(rank=2, targets=["attention.qkv"], train=["speak", "head"]))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert {name.split("backbone.base_model.model.")[1].split(".")[0] for name in trained} == {
        "blocks",
        "speak",
        "head",
    }
    assert not any("cross" in name for name in trained)


@pytest.mark.parametrize("train", [[], ["speak", "head"]])
def test_saved_loaded_and_merged_are_the_same(tmp_path, train):
    adapted = use(make(LoRA(rank=2, alpha=4.0, train=train)))
    save_adapter(adapted, tmp_path, "me/base")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (2, 4.0, "me/base")
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "README.md"
    }  # fmt: skip
    apart, merged = (load_adapter(make(), tmp_path, merge) for merge in (False, True))
    assert torch.equal(run(apart), run(adapted))
    torch.testing.assert_close(run(merged), run(adapted), atol=1e-5, rtol=0)
    assert merged.state_dict().keys() == make().state_dict().keys()
    theirs = peft.PeftModel.from_pretrained(make().backbone, tmp_path)  # PEFT alone
    latents = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(theirs(latents, torch.full((1, 3), 0.5), Conditions(), 24.0), run(adapted))


@pytest.mark.parametrize("train", [[], ["speak", "blocks.1"]])
@pytest.mark.parametrize("every", [1, 2])
def test_recomputed_networks_have_the_adapters_of_plain_ones(tmp_path, every, train):
    lora = LoRA(rank=2, targets=["attention.qkv", "blocks.0.feed_forward.2"], train=train)
    adapted = {kind: use(make(lora, kind)) for kind in (0, every)}
    for kind, model in adapted.items():
        save_adapter(model, tmp_path / str(kind), "me/base")
    plain, again = (load_file(tmp_path / str(kind) / "adapter_model.safetensors") for kind in adapted)
    assert plain and plain.keys() == again.keys() and all(torch.equal(plain[name], again[name]) for name in plain)
    for saved in adapted:
        for kind in adapted:
            folder = tmp_path / str(saved)
            apart, merged = (load_adapter(make(recompute=kind), folder, merge) for merge in (False, True))
            assert torch.equal(run(apart), run(adapted[0])) and not torch.equal(run(apart), run(make()))
            torch.testing.assert_close(run(merged), run(adapted[0]), atol=1e-5, rtol=0)
            assert merged.state_dict().keys() == make().state_dict().keys()
            assert isinstance(merged.backbone.blocks[0], CheckpointWrapper) == bool(kind), "it must go on recomputing"


def test_an_adapter_without_tensors_is_not_written(tmp_path):
    adapted = make(LoRA(rank=2))
    blocks = adapted.backbone.get_base_model().blocks
    for index, block in enumerate(blocks):
        blocks[index] = offload_wrapper(block)
    with pytest.raises(ValueError, match="finds no tensor of the adapter; take"):
        save_adapter(adapted, tmp_path / "adapter", None)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("made", "given", "faults"),
    [
        ({"depth": 4}, {"depth": 2}, {"unknown"}),
        ({"depth": 2}, {"depth": 4}, {"missing"}),
        ({"width": 48}, {"width": 64}, {"misshapen"}),
    ],
)
@pytest.mark.parametrize("recompute", [0, 1])
def test_an_adapter_of_another_network_is_one_table(tmp_path, made, given, faults, recompute):
    save_adapter(use(make(LoRA(rank=2, train=["speak"]), **made)), tmp_path, None)
    model = make(recompute=recompute, **given)
    output, names = run(model), list(model.state_dict())
    with pytest.raises(KeysDiffer, match=r"does not fit this model, give the model it was made on: \d+ ") as caught:
        load_adapter(model, tmp_path)
    assert {fault.kind for fault in caught.value.faults} == faults
    assert torch.equal(run(model), output) and list(model.state_dict()) == names, "what is refused leaves no trace"


def test_a_part_that_the_file_lacks_is_in_the_table(tmp_path):
    save_adapter(make(LoRA(rank=2, train=["speak"])), tmp_path, None)
    file = tmp_path / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if ".speak." not in name}, file)
    with pytest.raises(KeysDiffer, match=r"\.speak\.project\.weight +missing"):
        load_adapter(make(), tmp_path)


def test_plain_weights_put_an_adapted_model_back_to_rest():
    other = use(make(), 0.2)
    adapted = use(make(LoRA(rank=2, train=["head"])))
    load_weights(adapted, own_weights(other))
    assert torch.equal(run(adapted), run(other)) and is_at_rest(adapted.backbone)
    again = use(make(LoRA(rank=2, train=["head"])))
    load_weights(adapted, own_weights(again))  # weights of an adapted model are taken as they are
    assert torch.equal(run(adapted), run(again))
    lacking = own_weights(other)
    del lacking["backbone.blocks.0.attention.qkv.weight"]
    with pytest.raises(ValueError, match=r"1 missing\n.*\nbackbone.*qkv\.base_layer\.weight +missing"):
        load_weights(adapted, lacking)


def test_an_adapted_model_is_built_from_its_spec_and_shared_plain(tmp_path):
    encoder = {"class_path": "lpm.condition.LogMelEncoder", "init_args": {"width": 8, "rate": 50.0}}
    spec = {
        "class_path": "lpm.sample.PerformanceModel",
        "init_args": {
            "backbone": {"class_path": "lpm.backbone.puppet_small", "init_args": PARTS | {"channels": 32}},
            "codec": "lpm.codec.tiny_codec",
            "text": {"class_path": "lpm.condition.ByteText", "init_args": {"width": 8}},
            "speak": encoder,
            "listen": encoder | {"init_args": {"width": 8, "rate": 12.5}},
            "prediction": "lpm.flow.PredictClean",
            "coordinates": {"class_path": "lpm.flow.Residual", "init_args": {"scale": 1.0}},
            "adapter": {"class_path": "lpm.sample.LoRA", "init_args": {"rank": 2}},
        },
    }
    model = use(build(copy.deepcopy(spec)))
    assert "peft_config" in dir(model.backbone)
    with pytest.raises(ValueError, match="has an adapter; share that alone"):
        model.save_pretrained(tmp_path, spec)
    merge_adapter(model).save_pretrained(tmp_path, spec)
    loaded = PerformanceModel.from_pretrained(tmp_path)
    assert "adapter" not in loaded.spec["init_args"]
    state = model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def test_a_codec_of_ones_own_travels_with_the_model(tmp_path):
    codec = TinyCodec(4, 8, 1).eval()
    codec.save_pretrained(tmp_path / "codec")
    encoder = {"class_path": "lpm.condition.LogMelEncoder", "init_args": {"width": 8, "rate": 50.0}}
    parts = {
        "backbone": {"class_path": "lpm.backbone.puppet_small", "init_args": PARTS},
        "codec": {"class_path": "lpm.codec.tiny_codec", "init_args": {"weights": str(tmp_path / "codec")}},
        "text": {"class_path": "lpm.condition.ByteText", "init_args": {"width": 8}},
        "speak": encoder,
        "listen": encoder | {"init_args": {"width": 8, "rate": 12.5}},
        "prediction": "lpm.flow.PredictClean",
        "coordinates": {"class_path": "lpm.flow.Residual", "init_args": {"scale": 1.0}},
    }
    spec = {"class_path": "lpm.sample.PerformanceModel", "init_args": parts}
    build(spec).save_pretrained(tmp_path / "model", spec)
    (tmp_path / "codec").rename(tmp_path / "gone")
    loaded = PerformanceModel.from_pretrained(tmp_path / "model")
    assert all(torch.equal(value, loaded.codec.state_dict()[name]) for name, value in codec.state_dict().items())
    assert str(tmp_path) not in (tmp_path / "model" / "config.json").read_text()


def test_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="rank of 0 is below 1"):
        LoRA(rank=0)
    with pytest.raises(ValueError, match="no layer of the network is named atention; layers are named like"):
        make(LoRA(targets=["atention"]))
    with pytest.raises(ValueError, match=r"holds no adapter_config\.json"):
        load_adapter(make(), tmp_path)
    with pytest.raises(ValueError, match="has no adapter; train it with"):
        save_adapter(make(), tmp_path, None)
    save_adapter(make(LoRA(rank=2)), tmp_path, None)
    larger = make()
    larger.backbone = puppet_small(channels=4, audio_width=16)
    larger.backbone.blocks = torch.nn.ModuleList([torch.nn.Linear(3, 3)])
    with pytest.raises(ValueError, match="does not fit this model"):
        load_adapter(larger, tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError) as missing:
        make(LoRA())
    assert one_line(missing.value) == 'peft is not installed; run: pip install "lpm[models]"'
