"""``lpm stream`` and ``recipes/stream.yaml``: files and pipes in, an mp4 or frames out, and nothing half-written."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lpm.backbone import CausalDiT
from lpm.cli import lightning_main, main
from lpm.data import read_audio, read_video, to_int16, wav_bytes
from lpm.metric import read_events, summarise
from lpm.sample import FewSteps
from lpm.stream import StreamSampler
from lpm.train import StreamRequest, StreamRequests, WriteStreams

RECIPE = Path(__file__).parents[2] / "recipes/stream.yaml"
VOICE = np.sin(np.arange(24_000) / 20).astype(np.float32) / 2


@pytest.fixture
def folder(tmp_path, monkeypatch, model):
    Image.new("RGB", (40, 30), (200, 150, 120)).save(tmp_path / "face.png")
    (tmp_path / "voice.wav").write_bytes(wav_bytes(VOICE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lpm.train.stream_command.stream_puppet", lambda: (model, None))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return tmp_path


def run(*words):
    return main(["stream", "face.png", "--size=32", "--steps=1", "--chunk=2", *words])


def told(pattern, capsys):
    """The numbers that a command prints."""
    return [float(number) for number in re.search(pattern, capsys.readouterr().err).groups()]


def made(folder):
    return sorted({path.name for path in folder.iterdir()} - {"face.png", "voice.wav"})


def test_a_voice_becomes_an_mp4_of_its_length_with_its_sound(folder, capsys):
    assert run("out.mp4", "--speak=voice.wav", "--log=log.jsonl") == 0
    frames, seconds, real, predicted = told(r"(\d+) frames, (\S+) s; caches of (\S+) MB, (\S+) MB predicted", capsys)
    assert (frames, seconds) == (36, 1.5)
    assert 0 < predicted < real < 1.5 * predicted
    assert len(read_video(folder / "out.mp4")[0]) == 36
    sound = read_audio(folder / "out.mp4")[2_000:20_000]
    assert np.corrcoef(sound, VOICE[2_000:20_000])[0, 1] > 0.99
    assert summarise(read_events(folder / "log.jsonl"))["frames"] == 36
    assert made(folder) == ["log.jsonl", "out.mp4"]


def feed(path, samples):
    def write():
        with path.open("wb") as file:
            file.write(to_int16(samples).tobytes())

    os.mkfifo(path)
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_a_pipe_gives_the_same_video_as_a_file(folder):
    feed(folder / "speak.pipe", VOICE)
    assert run("one.rgb", "--speak=voice.wav") == 0
    assert run("two.rgb", "--speak=speak.pipe") == 0
    assert (folder / "one.rgb").read_bytes() == (folder / "two.rgb").read_bytes()
    assert len((folder / "one.rgb").read_bytes()) == 36 * 32 * 32 * 3


def test_a_pipe_that_closes_early_is_silent_from_then_on(folder):
    feed(folder / "speak.pipe", VOICE[:4_001])
    feed(folder / "listen.pipe", VOICE)
    assert run("out.mp4", "--speak=speak.pipe", "--listen=listen.pipe", "--guidance={listen: 1.5}") == 0
    assert len(read_video(folder / "out.mp4")[0]) == 36


@pytest.mark.timeout(60)
@pytest.mark.parametrize("order", [("speak", "frames"), ("frames", "speak")])
@pytest.mark.parametrize("words, early", [([], 25), (["--realtime"], 1)])
def test_frames_leave_while_the_voice_still_comes_in(folder, words, early, order):
    """Whoever speaks waits for the first chunk's frames; in real time for one, since a late voice would be silent.

    Which of the pipes is opened first does not matter.
    """
    voice, came = to_int16(np.tile(VOICE, 2)[:36_000]).tobytes(), []
    for name in ("speak.pipe", "frames.pipe"):
        os.mkfifo(folder / name)

    def partner():
        modes = {"speak": "wb", "frames": "rb"}
        pipes = {name: (folder / f"{name}.pipe").open(modes[name], buffering=0) for name in order}
        with pipes["speak"] as speak, pipes["frames"] as frames:
            speak.write(voice[:48_000])
            came.append(read(frames, early * 32 * 32 * 3))
            speak.write(voice[48_000:])
            speak.close()
            came.append(frames.readall())

    thread = threading.Thread(target=partner, daemon=True)
    thread.start()
    assert run("frames.pipe", "--speak=speak.pipe", "--chunk=6", *words) == 0
    thread.join(10)
    assert [len(part) / (32 * 32 * 3) for part in came] == [early, 54 - early]


def read(pipe, count):
    """So many bytes of a pipe; fewer if it says nothing for ten seconds."""
    data = b""
    while len(data) < count and select.select([pipe], [], [], 10)[0] and (more := pipe.read(count - len(data))):
        data += more
    return data


def test_without_a_sample_nothing_is_written(folder, capsys):
    """Nor does the video of before look new."""
    (folder / "out.mp4").write_text("old")
    feed(folder / "speak.pipe", VOICE[:0])
    assert run("out.mp4", "--speak=speak.pipe") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: 0 frames, nothing was written to out.mp4")
    assert (folder / "out.mp4").read_text() == "old"
    (folder / "cues.jsonl").write_text('{"stop": true}')
    assert run("new.mp4", "--speak=voice.wav", "--control=cues.jsonl") == 2
    assert "nothing was written to new.mp4" in capsys.readouterr().err
    assert made(folder) == ["cues.jsonl", "out.mp4", "speak.pipe"]


def test_a_prompt_that_is_too_long_is_refused_before_the_stream(folder, capsys):
    (folder / "cues.jsonl").write_text('{"at": 0.9, "text": "%s"}' % ("x" * 600))
    assert run("out.mp4", "--speak=voice.wav", "--control=cues.jsonl") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: cue at 0.9 s: text of 600 bytes is above the limit of 512")
    assert made(folder) == ["cues.jsonl"]


def test_a_bad_cue_does_not_end_a_live_stream(folder, capsys):
    os.mkfifo(folder / "control.pipe")
    lines = ('{"text": "%s"}' % ("x" * 600), '{"guidance": {"speak": "2"}}', "\udcff", '{"at": 1, "stop": true}')
    said = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    threading.Thread(target=(folder / "control.pipe").write_bytes, args=(said,), daemon=True).start()
    assert run("out.mp4", "--seconds=3", "--realtime", "--control=control.pipe") == 0
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]) == 3
    assert len(read_video(folder / "out.mp4")[0]) == 25


def test_frames_go_into_a_pipe_whose_reader_may_leave(folder):
    os.mkfifo(folder / "frames.pipe")
    read = []

    def reader():
        with (folder / "frames.pipe").open("rb") as file:
            read.append(file.read(3 * 32 * 32 * 3))

    thread = threading.Thread(target=reader)
    thread.start()
    stdout = os.dup(1)
    try:
        assert run("frames.pipe", "--seconds=20", "--log=log.jsonl") == 0
    finally:
        os.dup2(stdout, 1)
    thread.join()
    assert len(read[0]) == 3 * 32 * 32 * 3
    assert len(read_events(folder / "log.jsonl")) > 3


def test_in_real_time_the_clock_decides(folder):
    assert run("out.mp4", "--speak=voice.wav", "--realtime", "--log=log.jsonl") == 0
    events = read_events(folder / "log.jsonl")
    opened = events[0]["t"]
    for event in events:
        if event["event"] == "chunk_start":
            assert (event["t"] - opened) / 1e9 >= event["audio_to"] / 16_000
    frames = [event["t"] for event in events if event["event"] == "frame_out"]
    assert len(frames) == 36
    assert (frames[-1] - frames[0]) / 1e9 >= 35 / 24 - 0.1


def test_a_cue_is_followed(folder):
    (folder / "cues.jsonl").write_text('{"at": 0.5, "text": "merry"}\n{"at": 0.9, "stop": true}\n')
    assert run("out.rgb", "--speak=voice.wav", "--control=cues.jsonl", "--log=log.jsonl") == 0
    kinds = [(e["type"], e["chunk"]) for e in read_events(folder / "log.jsonl") if e["event"] == "ctrl"]
    assert kinds == [("text", 2), ("stop", 3)]
    assert len((folder / "out.rgb").read_bytes()) == 25 * 32 * 32 * 3


@pytest.mark.parametrize(
    "words, message",
    [
        (["out.mp4"], "nothing to perform"),
        (["out.mp4", "--speak=none.wav"], "none.wav is missing"),
        (["out.mp4", "--speak=face.png"], "face.png"),
        (["out.avi", "--speak=voice.wav"], "out.avi is no .mp4"),
        (["no/out.mp4", "--speak=voice.wav"], "folder no does not exist"),
        (["out.mp4", "--speak=voice.wav", "--listen=voice.wav"], "both voices come from voice.wav"),
        (["out.mp4", "--seconds=-1"], "seconds of -1.0 are not positive"),
        (["out.mp4", "--seconds=.inf"], "seconds of inf are not positive and finite"),
        (["out.mp4", "--seconds=1", "--guidance={speak: .nan}"], "guidance of speak of nan is no finite number"),
        (["out.mp4", "--seconds=1", "--fps=0"], "fps of 0.0 is not positive"),
        (["out.mp4", "--seconds=1", "--guidance={voice: 2}"], "guidance of voice"),
        (["out.mp4", "--seconds=1", "--control=none"], "control file none is missing"),
        (["out.mp4", "--seconds=1", "--log=no/log"], "folder no does not exist"),
        (["out.mp4", "--seconds=1", "--steps=0"], "0 sampling steps"),
        (["out.mp4", "--seconds=1", "--history=1"], "history at noise level 1.0"),
        (["out.mp4", "--seconds=1", "--model=none"], "none is no folder"),
        (["out.mp4", "--seconds=1", "--references=[global=none.png]"], "none.png is missing"),
        (["out.mp4", "--seconds=1", "--seed=-1"], "seed of -1 is negative"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, capsys, words, message):
    assert run(*words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert made(folder) == []


def test_distilled_weights_keep_their_chunk(folder, capsys, model):
    model.backbone = CausalDiT(model.backbone, chunk=3)
    assert run("out.mp4", "--seconds=1") == 2
    assert "chunk of 2, but the network was distilled with 3; leave chunk out" in capsys.readouterr().err
    assert made(folder) == []


def test_sound_that_goes_wrong_in_its_last_second_leaves_no_video(folder, capsys):
    with av.open("broken.wav", "w") as file:
        stream = file.add_stream("pcm_f32le", rate=16_000, layout="mono")
        samples = np.zeros((1, 48_000), np.float32)
        samples[0, 40_000:] = np.nan
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert run("out.mp4", "--speak=broken.wav") == 2
    assert "NaN" in capsys.readouterr().err
    assert made(folder) == ["broken.wav"]


@pytest.mark.parametrize("realtime", [[], ["--realtime"]])
def test_interrupting_keeps_what_was_made(folder, monkeypatch, realtime):
    monkeypatch.setattr("lpm.stream.performance.memory", interrupt_after(3))
    assert run("out.mp4", "--seconds=30", *realtime) == 130
    assert len(read_video(folder / "out.mp4")[0]) >= 8
    assert made(folder) == ["out.mp4"]


COMMAND = """
import signal, sys
from lpm.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a script
sys.exit(main())
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_real_command_and_keeps_the_video(tmp_path, number):
    Image.new("RGB", (40, 30), (200, 150, 120)).save(tmp_path / "face.png")
    words = ["stream", "face.png", "out.mp4", "--size=32", "--steps=1", "--seconds=3600"]
    with (tmp_path / "told").open("w") as told:
        command = subprocess.Popen([sys.executable, "-c", COMMAND, *words], cwd=tmp_path, stderr=told)
    try:
        while command.poll() is None and not any(path.stat().st_size for path in tmp_path.glob(".out.mp4.*.part")):
            time.sleep(0.05)
        command.send_signal(number)
        assert command.wait(60) == 130, (tmp_path / "told").read_text()
    finally:
        command.kill()
    assert len(read_video(tmp_path / "out.mp4")[0]) >= 25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.png", "out.mp4", "told"]


def interrupt_after(chunks):
    left = iter(range(chunks))

    def memory():
        if next(left, None) is None:
            raise KeyboardInterrupt
        return {}

    return memory


def predict(requests, model, **settings):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[WriteStreams()],
        **settings,
    )
    streamer = StreamSampler(model, steps=FewSteps((1.0,), 0.0), chunk=2)
    trainer.predict(streamer, datamodule=StreamRequests(requests, size=32), return_predictions=False)


def test_the_recipe_s_parts_write_all_requests(folder, model):
    requests = [
        StreamRequest("face.png", f"{i}.mp4", speak="voice.wav", seconds=1.0, log=f"{i}.jsonl") for i in range(2)
    ]
    predict(requests, model)
    assert [len(read_video(folder / f"{i}.mp4")[0]) for i in range(2)] == [24, 24]
    assert json.loads((folder / "0.jsonl").read_text().splitlines()[-1])["event"] == "close"


def test_requests_are_performed_in_the_precision_of_the_trainer(folder, model):
    seen = set()
    model.backbone.blocks[0].register_forward_pre_hook(lambda *_: seen.add(torch.is_autocast_enabled("cpu")))
    predict([StreamRequest("face.png", "out.mp4", seconds=0.5)], model, precision="bf16-mixed")
    assert seen == {True}
    assert len(read_video(folder / "out.mp4")[0]) == 12


@pytest.mark.timeout(60)
def test_a_reader_who_leaves_ends_one_request_and_the_end_tells(folder, model, capsys):
    os.mkfifo("frames.pipe")
    thread = threading.Thread(target=lambda: Path("frames.pipe").open("rb").close())
    thread.start()
    requests = [StreamRequest("face.png", output, seconds=1.0) for output in ("frames.pipe", "after.mp4")]
    with pytest.raises(BrokenPipeError, match=r"frames\.pipe"):
        predict(requests, model)
    thread.join()
    assert "cut short where their readers left: frames.pipe\n" in capsys.readouterr().err
    assert len(read_video(folder / "after.mp4")[0]) == 24


def test_the_recipe_performs_as_the_command_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), (200, 150, 120)).save("portrait.png")
    Path("voice.wav").write_bytes(wav_bytes(VOICE[:3_200]))
    assert lightning_main(["predict", "--config", str(RECIPE), "--trainer.accelerator=cpu", "--data.size=32"]) == 0
    words = ["stream", "portrait.png", "same.mp4", "--speak", "voice.wav", "--size", "32"]
    assert main([*words, "--text", "A calm character speaks English."]) == 0
    assert len(read_video(Path("hello.mp4"))[0]) == 5
    assert Path("hello.mp4").read_bytes() == Path("same.mp4").read_bytes()


def test_a_bad_request_stops_all_before_the_first_video(folder, model):
    requests = [StreamRequest("face.png", "0.mp4", seconds=1.0), StreamRequest("none.png", "1.mp4", seconds=1.0)]
    with pytest.raises(ValueError, match=r"none\.png is missing"):
        StreamRequests(requests, size=32).setup("predict")
    assert made(folder) == []
    with pytest.raises(ValueError, match="no requests"):
        StreamRequests([])
