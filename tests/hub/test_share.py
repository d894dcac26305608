"""Folders and repositories: what is saved comes back bit for bit, by the Hub's own client."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from lpm.backbone import DiT, puppet_small
from lpm.cli import main
from lpm.codec import TinyCodec, WanCodec, load_codec
from lpm.hub import Card, figures, push_folder, read_tensors
from lpm.hub.trust import foreign_names
from lpm.sample.adapter import base_of
from lpm.train.checkpoint import load_performer
from lpm.types import Conditions

DIT = {"class_path": "lpm.backbone.puppet_small", "init_args": {"channels": 4}}


@pytest.fixture
def dit():
    network = puppet_small(channels=4).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.fixture
def hub(monkeypatch):
    """A Hub of dictionaries: repositories by name, and what was asked of it."""
    hub = SimpleNamespace(repositories={}, asked=[])

    def snapshot_download(name, revision=None, allow_patterns=None):
        hub.asked.append((name, revision, allow_patterns))
        if name not in hub.repositories:
            raise LocalEntryNotFoundError("no network")
        return str(hub.repositories[name])

    class HfApi:
        def create_repo(self, name, private=None, exist_ok=False):
            assert exist_ok
            hub.asked.append((name, private))
            return SimpleNamespace(repo_id=name)

        def upload_folder(self, repo_id, folder_path, commit_message):
            files = {path.relative_to(folder_path).as_posix() for path in folder_path.rglob("*") if path.is_file()}
            hub.repositories[repo_id] = {"files": files, "message": commit_message}
            return f"commit of {repo_id}"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi", HfApi)
    return hub


def run(network):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 3, 4, 4, 4, generator=generator)
    with torch.no_grad():
        return network(latents, torch.full((1, 3), 0.5), Conditions(), 24.0)


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_a_network_comes_back_bit_for_bit(dit, tmp_path, shard):
    dit.save_pretrained(tmp_path, DIT, shard=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    assert json.loads((tmp_path / "config.json").read_text()) == DIT
    loaded = DiT.from_pretrained(tmp_path)
    assert not loaded.training and loaded.spec == DIT
    assert torch.equal(run(loaded), run(dit))
    loaded.save_pretrained(tmp_path / "again")  # it knows its spec
    assert torch.equal(run(DiT.from_pretrained(tmp_path / "again")), run(dit))


@pytest.mark.parametrize(
    "codec", [TinyCodec(4, 8, 1), WanCodec(width=8, channels=2, mean=[0.1, 0.2], deviation=[1, 2])]
)
def test_codecs_know_their_spec(codec, tmp_path):
    video = torch.linspace(-1, 1, 5 * 3 * 16 * 16).reshape(1, 5, 3, 16, 16)
    codec.eval().save_pretrained(tmp_path)
    loaded = type(codec).from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(video), codec(video))
        if isinstance(codec, TinyCodec):
            assert torch.equal(load_codec(tmp_path)(video), codec(video))


def test_a_repository_is_fetched_without_pickles(dit, tmp_path, hub):
    dit.save_pretrained(tmp_path, DIT)
    hub.repositories["me/small"] = tmp_path
    assert torch.equal(run(DiT.from_pretrained("me/small", revision="v1")), run(dit))
    name, revision, patterns = hub.asked[0]
    assert (name, revision) == ("me/small", "v1") and set(patterns) == {"*.json", "*.safetensors", "*.md"}


def around(network):
    """The spec of a builder that takes a network."""
    return {"class_path": "lpm.backbone.recomputed", "init_args": {"network": network}}


DANGER = {"class_path": "danger.Network", "init_args": {}}
FOREIGN = {
    "a class": DANGER,
    "a part": around(DANGER),
    "a part of a list": around([DANGER]),
    "a plain string": around("danger.Network"),
    "JSON in a string": around(json.dumps(DANGER).replace(" ", "\t")),
    "YAML in a string": around("class_path: danger.Network"),
    "a string in a string": around(json.dumps(around("danger.Network"))),
    "a dotted key": {"class_path": "lpm.backbone.recomputed", "init_args": {"network.class_path": "danger.Network"}},
    "a builder for a builder": {"class_path": "lpm.sample.load_performance", "init_args": {"source": "danger.Network"}},
    "a place that is none": {"class_path": "lpm.train.BasePrediction", "init_args": {"weights": "danger.Network"}},
}


@pytest.mark.parametrize("spec", FOREIGN.values(), ids=FOREIGN)
def test_a_repository_runs_classes_of_lpm_only(dit, tmp_path, hub, monkeypatch, spec):
    (tmp_path / "danger.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    dit.save_pretrained(tmp_path, DIT)
    hub.repositories["me/danger"] = tmp_path
    (tmp_path / "config.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=r"danger\.Network, which is no part of lpm"):
        DiT.from_pretrained("me/danger")


def test_a_repository_names_no_files_to_build_from(dit, tmp_path, hub, monkeypatch):
    """The spec of a part could stand in a file that the repository brings, or on a server."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("lpm.hub.trust.HF_HUB_CACHE", str(tmp_path / "cache"))
    hub.repositories["me/danger"] = cache = tmp_path / "cache"
    dit.save_pretrained(cache, DIT)
    (tmp_path / "part.json").write_text(json.dumps(DANGER))
    parts = ("~/part.json", str(tmp_path / "part.json"), "hf://me/danger/part.json")
    places = ("~/cache/x.safetensors", str(cache / "folder"))
    specs = [around(part) for part in parts]
    specs += [{"class_path": "lpm.codec.tiny_codec", "init_args": {"weights": place}} for place in places]
    for spec in specs:
        (cache / "config.json").write_text(json.dumps(spec))
        with pytest.raises(ValueError, match=r"names .*(part\.json|cache/.*), which is no part of lpm"):
            DiT.from_pretrained("me/danger")


def test_what_lpm_imports_is_not_of_lpm(dit, tmp_path, hub):
    dit.save_pretrained(tmp_path, DIT)
    hub.repositories["me/danger"] = tmp_path
    cases = {"lpm.hub.card.Path": "which is no part of lpm", "lpm.backbone.dit.nn.Identity": "no module named"}
    for name, message in cases.items():
        (tmp_path / "config.json").write_text(json.dumps(around(name)))
        with pytest.raises(ValueError, match=message):
            DiT.from_pretrained("me/danger")


def test_what_is_no_code_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mean").mkdir()
    (tmp_path / "vae.pth").touch()
    texts = ["mean", "a smile. she waves", "Note: no hats, {please} 24/s", "~nobody/x", "x" * 5000, "me/base", "", "*"]
    places = [{"weights": name} for name in ("tiny.safetensors", "umt5-xxl", "weights/Wan2.1_VAE.pth", "vae.pth", None)]
    lpm = [DIT, {"class_path": "lpm.flow.Residual"}, "lpm.flow.PredictClean", '{"class_path": "lpm.flow.Residual"}']
    assert list(foreign_names({"init_args": [*texts, *places, *lpm, 1.5, None]})) == []


def test_adapters_of_the_hub_begin_with_repositories_or_lpm(tmp_path, hub):
    def base(name):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": name}))
        return name

    hub.repositories["me/adapter"] = tmp_path
    for name in ("me/base", "lpm.sample.base_puppet", None):
        assert base(name) == base_of("me/adapter") == base_of(tmp_path)
    for name in ("danger.make", "lpm.sample.adapter.Path", str(tmp_path), "runs/base/last.ckpt", "~/last.ckpt"):
        assert base(name) == base_of(tmp_path)
        with pytest.raises(ValueError, match=r"which is neither a repository nor a builder of lpm"):
            load_performer(None, "me/adapter")


def test_pushing_uploads_the_folder_with_its_card(dit, hub):
    assert dit.push_to_hub("me/small", DIT, private=True, message="first") == "commit of me/small"
    assert hub.asked == [("me/small", True)]
    assert hub.repositories["me/small"] == {
        "files": {"config.json", "model.safetensors", "README.md"},
        "message": "first",
    }


def test_the_command_pushes_and_refuses_in_one_line(dit, tmp_path, hub, capsys, monkeypatch):
    dit.save_pretrained(tmp_path / "model", DIT)
    assert main(["weights", "push", str(tmp_path / "model"), "me/small", "--private"]) == 0
    assert "commit of me/small" in capsys.readouterr().out and hub.asked == [("me/small", True)]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    cases = {
        (tmp_path, "me/x"): "holds none of config.json",
        (tmp_path / "bare", "me/x"): "needs a card",
        (tmp_path / "model", "no owner"): "is no repository; write owner/name",
    }
    for (folder, name), message in cases.items():
        assert main(["weights", "push", str(folder), name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line

    def refuse(*_, **__):
        raise RuntimeError("401 unauthorised\nlong story")

    monkeypatch.setattr("huggingface_hub.HfApi", lambda: SimpleNamespace(create_repo=refuse))
    with pytest.raises(ValueError, match=r"\(RuntimeError: 401 unauthorised\); log in"):
        push_folder(tmp_path / "model", "me/small")


def test_what_cannot_be_loaded_is_named(dit, tmp_path, hub):
    with pytest.raises(ValueError, match=r"me/none is no folder here, and the Hub does not give it \(LocalEntry"):
        DiT.from_pretrained("me/none")
    with pytest.raises(ValueError, match=r"is no folder; give one written by"):
        DiT.from_pretrained(tmp_path / "none")
    with pytest.raises(ValueError, match="does not know what it was built from"):
        dit.save_pretrained(tmp_path)
    dit.save_pretrained(tmp_path, DIT)
    with pytest.raises(ValueError, match="holds a DiT, not a TinyCodec"):
        TinyCodec.from_pretrained(tmp_path)
    tensors = read_tensors(tmp_path)
    name = next(iter(tensors))
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=rf"saved with: 1 missing\nkey +is +needs +has\n{re.escape(name)} +missing"):
        DiT.from_pretrained(tmp_path)


def test_the_card_has_metadata_figures_and_how_to_load(dit, tmp_path):
    (tmp_path / "performance.json").write_text(json.dumps({"seen": {"lips": {"value": 0.5, "low": 0.4, "high": 0.61}}}))
    rows = figures(tmp_path / "performance.json")
    dit.save_pretrained(tmp_path, DIT, Card("Small", "It moves.", "mit", base="me/base", figures=rows))
    card = ModelCard.load(tmp_path / "README.md")
    data = card.data.to_dict()
    assert data["license"] == "mit" and data["library_name"] == "lpm" and data["pipeline_tag"] == "image-to-video"
    assert data["base_model"] == "me/base" and "lpm" in data["tags"]
    for part in ("# Small", "It moves.", "from lpm.backbone import DiT", "| seen / lips | 0.500 [0.400, 0.610] |"):
        assert part in card.text
    with pytest.raises(ValueError, match="holds no estimates"):
        figures(tmp_path / "config.json")


def test_a_card_that_was_written_by_hand_stays(dit, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    dit.save_pretrained(tmp_path, DIT)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_weights_of_others_are_listed_as_needs(tmp_path, dit):
    spec = DIT | {"init_args": {"channels": 4, "text": {"class_path": "a.B", "init_args": {"weights": "umt5"}}}}
    dit.save_pretrained(tmp_path, spec)
    assert "- `text`: `umt5`" in (tmp_path / "README.md").read_text()
