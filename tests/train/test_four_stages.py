"""The commands of the guide `distil your own Base`, one after the other, as the page has them."""

import re
import shlex
import shutil
from pathlib import Path

import torch

from lpm.cli import main
from lpm.sample.pretrained import load_performance
from lpm.stream import Opening, StreamSampler

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide/distil.md"
SMALL = {
    "trainer.max_steps": 4,
    "data.init_args.corpus_folder": "corpus",
    "data.init_args.settings.frames": 25,
    "data.init_args.settings.clips": 2,
    "data.init_args.batch_size": 1,
}


def test_the_guides_commands_end_in_a_pair_that_streams(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lpm.train.trajectory_data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", "corpus/shards")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    for command in re.search(r"```bash\n(.*?)```", GUIDE.read_text(), re.S)[1].splitlines():
        program, *words = shlex.split(command)
        small = [f"--{name}={value}" for name, value in SMALL.items()] if program == "lightning" else []
        assert main([*words, *small]) == 0, command
    model, refiner = load_performance("weights/backbone"), load_performance("weights/refiner").backbone
    session = (sampler := StreamSampler(model, refiner)).open(Opening(torch.zeros(1, 3, 32, 32), None, [""]))
    for voice in (session.speak, session.listen):
        voice.push(torch.zeros(1, 20_000))
    assert [piece.video_BTCHW.shape[1] for piece in sampler.advance(session)] == [25]
