import copy
import io
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from lpm.data import Cut, ListenerEmphasis, Mixture, Pixels, ShardWriter, Shares, all_references
from lpm.data.puppets.plan import CorpusSpec
from lpm.objective import FlowMatching
from lpm.train import Average, BaseTraining, PuppetData, SeedSteps, encode
from lpm.train import data as data_module
from lpm.train.base import parameter_groups, trainable
from lpm.train.encode import codec_hash, encode_corpus, encode_sample, encode_shard, write_shard
from lpm.train.frames import to_pixels


@pytest.fixture
def puppet_data(corpus, codec, monkeypatch):
    """A data module whose corpus is already drawn."""
    monkeypatch.setattr(data_module, "build_corpus", lambda folder, spec, workers: folder)

    def make():
        return PuppetData(
            CorpusSpec(), codec, str(corpus), frames=9, batch_size=2, history=0.3, lookahead=0.1, measured_frames=33
        )

    return make


def training(model):
    return BaseTraining(model, FlowMatching(model.prediction, model.coordinates), warmup=2)


def trainer(folder, steps):
    return Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
        callbacks=[
            SeedSteps(),
            Average(decay=0.5),
            ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1),
        ],
    )  # fmt: skip


def test_every_part_but_the_codec_learns(model, puppet_data):
    data = puppet_data()
    data.prepare_data()
    module = training(model)
    batch = next(iter(data.train_dataloader()))
    module.dropout.eval()
    loss, _ = module.loss(batch, model.conditions(batch))
    for _ in range(2):  # the head starts at zero: a second step lets gradients through it
        module.zero_grad()
        loss, _ = module.loss(batch, model.conditions(batch))
        loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    still = [name for name, p in module.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    nulls = {"model.backbone.text.null", "model.backbone.speak.null", "model.backbone.listen.null"}
    assert set(still) <= nulls | {"model.text.embed.weight"}
    assert all(not p.requires_grad for p in model.codec.parameters())


def test_parameter_groups_split_audio_from_the_rest(model):
    audio, rest = (list(trainable(training(model), audio=flag)) for flag in (True, False))
    grouped = parameter_groups(training(model), {False: 1.0, True: 2.0})
    assert [(group["lr"], group["matrices"]) for group in grouped] == [(1, True), (1, False), (2, True), (2, False)]
    assert all(p.ndim == 2 for group in grouped if group["matrices"] for p in group["params"])
    assert sum(len(group["params"]) for group in grouped) == len(audio) + len(rest)
    assert audio and rest
    assert len(audio) + len(rest) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("begins", [False, True])
def test_resumed_equals_uninterrupted(model, puppet_data, tmp_path, begins):
    weights = tmp_path / "start.ckpt"
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()}}, weights)
    start = {name: value.clone() for name, value in model.state_dict().items()}

    def run(steps, resume=None):
        model.load_state_dict(start)
        module = training(model)
        module.start = str(weights) if begins else None
        trainer(tmp_path, steps).fit(module, datamodule=puppet_data(), ckpt_path=resume, weights_only=False)
        return model.state_dict()

    run(6)
    whole = {name: value.clone() for name, value in model.state_dict().items()}
    second = run(6, resume=tmp_path / "step=3.ckpt")
    changed = [name for name, value in second.items() if not torch.equal(value, whole[name])]
    assert changed == []


def test_encoding_resumes_and_leaves_nothing_half_written(corpus, codec, tmp_path):
    encode_corpus(codec, corpus / "shards", tmp_path)
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.tar")}
    (tmp_path / "val-000000.tar").unlink()
    encode_corpus(codec, corpus / "shards", tmp_path)
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.tar")}
    assert made.keys() == again.keys()
    assert [name for name in made if made[name] != again[name]] == ["val-000000.tar"]
    assert {path.name for path in tmp_path.glob(".*")} <= {".lock"}


def test_latents_of_references_are_in_the_order_of_the_sample(codec, sample_of):
    """Names that sort otherwise, a picture that is not listed, and one that the camera stored upside down."""
    sample, exif = sample_of(0), Image.Exif()
    images = [Image.fromarray(np.full((32, 32, 3), level, np.uint8)) for level in (20, 230, 120)]
    images[0].paste((250, 250, 250), (0, 0, 32, 16))
    exif[274] = 3
    for number, image in zip((2, 10, 1), [images[0].rotate(180), *images[1:]]):
        file = io.BytesIO()
        image.save(file, "png", exif=exif if number == 2 else None)
        sample[f"ref.{number}.png"] = file.getvalue()
    sample["json"]["references"] = [
        {"file": "ref.2.png", "kind": "global"}, {"file": "ref.10.png", "kind": "body", "sub_kind": "left"}
    ]  # fmt: skip
    found = np.load(io.BytesIO(encode_sample(codec, sample)["ref.npy"]))
    video = torch.stack([to_pixels(np.asarray(image)) for image in images[:2]])
    np.testing.assert_allclose(found, codec.encode_frames(video).detach().half().numpy(), atol=1e-2)


def test_references_of_any_size_are_encoded_at_the_size_of_the_video(codec, sample_of):
    """As ``Pixels`` shows them: fitted in, padded black."""
    sample = sample_of(0)
    rows = [("ref.00.png", "global", ""), ("ref.01.png", "body", "left")]
    for (name, *_), size in zip(rows, ((32, 48), (64, 64))):
        file = io.BytesIO()
        Image.new("RGB", size, (200, 90, 40)).save(file, "png")
        sample[name] = file.getvalue()
    sample["json"]["references"] = [{"file": name, "kind": kind, "sub_kind": sub} for name, kind, sub in rows]
    shown = Cut(33, [Pixels()], references=all_references)(sample, np.random.default_rng(0)).reference_RHWC
    found = np.load(io.BytesIO(encode_sample(codec, sample)["ref.npy"]))
    np.testing.assert_allclose(found, codec.encode_frames(to_pixels(shown)).detach().half().numpy(), atol=1e-2)


def test_what_a_killed_run_has_left_is_written_anew(sample_of, tmp_path):
    with ShardWriter(tmp_path / ".train-000000", "part") as left:
        left.write(sample_of(0))
    assert write_shard([sample_of(1), sample_of(2)], tmp_path / "train-000000.tar") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["train-000000.tar"]


def test_two_runs_that_want_the_same_latents_encode_each_shard_once(corpus, codec, tmp_path, monkeypatch):
    shards = []

    def noted(codec, shard, folder, drop):
        shards.append(shard.name)
        return encode_shard(codec, shard, folder, drop)

    monkeypatch.setattr(encode, "encode_shard", noted)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(encode_corpus, codec, corpus / "shards", tmp_path / "new", workers=1) for _ in range(2)]
        assert sorted(run.result().total() for run in both) == [0, 12]  # the second finds them finished
    assert sorted(shards) == sorted(path.name for path in (tmp_path / "new").glob("*.tar"))


def test_latents_belong_to_an_encoder_whatever_the_decoder(codec):
    other = copy.deepcopy(codec)
    torch.nn.init.normal_(other.decoder.linear[0].weight)
    assert codec_hash(other) == codec_hash(codec)
    other.std += 1
    assert codec_hash(other) != codec_hash(codec)


def test_pixels_for_a_codec_need_no_encoding(corpus, codec, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", tmp_path / "shards")
    data = PuppetData(codec=codec, folder=str(tmp_path), frames=13, batch_size=2, pixels=True)
    data.prepare_data()
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        assert batch.video_BTCHW.shape == (2, 13, 3, 32, 32) and batch.latents_BTCYX is None
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_references_beside_the_global_one_are_drawn_by_clip(corpus, codec):
    rows = [{"kind": "global"}, *({"kind": "body", "sub_kind": view} for view in ("left", "right", "rear"))]
    settings = {"codec": codec, "folder": str(corpus), "extra_references": 0.3}
    draws = [PuppetData(**settings).cut.references(rows, np.random.default_rng(seed)) for seed in range(400)]
    assert np.mean([len(draw) > 1 for draw in draws]) == pytest.approx(0.3, abs=0.06)
    assert {len(draw) for draw in draws} == {1, 2, 3, 4}
    faces = PuppetData(**settings, extra_kinds=["expression"])
    assert {len(faces.cut.references(rows, np.random.default_rng(seed))) for seed in range(99)} == {1}


def test_measured_clips_get_the_kinds_of_references_asked_for(codec, sample_of, tmp_path):
    sample = sample_of(0)
    body = {"file": "ref.01.png", "kind": "body", "sub_kind": "left"}
    sample["ref.01.png"], sample["json"]["references"] = sample["ref.00.png"], [*sample["json"]["references"], body]
    for split in ("val", "seen"):
        with ShardWriter(tmp_path / "shards", split) as writer:
            writer.write(sample)
    settings = {"codec": codec, "folder": str(tmp_path), "measured_frames": 33}
    data = PuppetData(**settings, measured_kinds=["body"])
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(PuppetData, "encoded", property(lambda self: self.folder / "shards"))
        shown = [next(iter(d.performance_loaders()["held_out"])) for d in (data, PuppetData(**settings))]
    assert [batch.references.kind_BR.tolist() for batch in shown] == [[[1]], [[0]]]


def test_a_mixture_is_drawn_and_its_plan_is_printed(model, corpus, codec, puppet_data, tmp_path, capsys):
    """Every clip of this corpus speaks for a turn and listens for less than one."""
    data = puppet_data()
    data.mixture = Mixture([Shares(0, speaking=1.0)], ListenerEmphasis())
    seen = []
    module = training(model)
    module.on_train_batch_start = lambda batch, index: seen.extend(batch.keys)
    trainer(tmp_path, 5).fit(module, datamodule=data)
    printed = capsys.readouterr().out
    assert "clips by activity, 5 batches" in printed
    row = next(line for line in printed.splitlines() if "speaking" in line)
    assert [int(cell) for cell in re.findall(r"\b\d+\b(?!\.)", row.replace("1.000", ""))] == [6, 10, 6, 0, 4, 2]
    assert sorted(np.unique(seen, return_counts=True)[1]) == [1, 1, 2, 2, 2, 2]


def test_seeds_make_runs_equal_whatever_was_drawn_before(model, puppet_data, tmp_path):
    start = {name: value.clone() for name, value in model.state_dict().items()}

    def run(seed, drawn):
        seed_everything(seed)
        torch.rand(drawn)
        model.load_state_dict(start)
        trainer(tmp_path, 3).fit(training(model), datamodule=puppet_data())
        return {name: value.clone() for name, value in model.state_dict().items()}

    whole, again, other = run(3, 0), run(3, 5), run(4, 0)
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    assert [name for name in whole if not torch.equal(whole[name], other[name])] != []
