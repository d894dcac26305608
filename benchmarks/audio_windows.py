"""What an audio encoder loses when it hears 3 s windows of a stream instead of the whole clip.

    python benchmarks/audio_windows.py --audio FOLDER \
        --encoder lpm.sample.PerformanceModel --weights src/lpm/sample/weights/base \
        --encoder lpm.condition.small_wav2vec2 --weights random

Prints one JSON. Every encoder is a class path, or a spec as JSON, with its weights: a folder, or ``random``.
``lpm.sample.PerformanceModel`` measures both encoders of a weights folder, ``lpm.condition.PretrainedAudio`` a folder
of transformers, ``lpm.condition.log_mel`` a folder of ``save_audio``; ``lpm.condition.small_*`` with ``random`` a small
network of fresh weights in the true format.

For every token of the windows, against the same token of the whole clip: ``cosine``, ``error`` (relative L2) and
``unexplained`` (squared error over the clip's variance over time). Means over tokens of a file; value and 95 % interval
over files (bootstrap). ``all``: every token. ``start``: the first windows, which lack history. ``new 0.0-0.1 s`` and so
on: by place in the new second of windows with full history. ``in place``: such windows at their place in the clip, with
silence around, for encoders with positions of their own (Whisper): lost is what they do not hear, and nothing for
beginning elsewhere. ``unrelated``: the scale of a loss of everything, tokens of the whole clip against those one second
earlier.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from performance import machine
from torch import Tensor, nn

from lpm.build import build
from lpm.condition import PretrainedAudio, Windows, untrained_audio
from lpm.data import read_audio
from lpm.metric import estimate, token_cosine, token_error, token_unexplained
from lpm.sample import PerformanceModel, load_performance
from lpm.types import SAMPLE_RATE

METRICS = {"cosine": token_cosine, "error": token_error, "unexplained": token_unexplained}
SOUND = {".wav", ".flac", ".mp3", ".ogg", ".m4a"}
PLACES = 10
Encode = Callable[[Tensor], Tensor]


def encoders(spec: str, weights: str, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and encoder of a class path or spec."""
    torch.manual_seed(seed)
    wanted = json.loads(spec) if spec.startswith("{") else {"class_path": spec}
    name, arguments = wanted["class_path"], wanted.get("init_args", {})
    if name == "lpm.sample.PerformanceModel":
        model = load_performance(weights)
        assert isinstance(model, PerformanceModel)
        yield "speak of the model", model.speak
        yield "listen of the model", model.listen
    elif ".small_" in name:
        with tempfile.TemporaryDirectory() as folder:
            network = getattr(__import__("lpm.condition", fromlist=["_"]), name.rpartition(".")[2])
            yield f"{name}, random weights", untrained_audio(folder, network, seed=seed)
    else:
        where = {} if weights == "random" else {"folder" if name.endswith(".log_mel") else "weights": weights}
        yield f"{name}, {Path(weights).name}", build({"class_path": name, "init_args": {**arguments, **where}})


def whole_clip(encoder: nn.Module) -> Encode:
    """Return the function that encodes a clip at once."""
    return encoder.encode if isinstance(encoder, PretrainedAudio) else encoder.forward


def places(count: int, windows: Windows) -> dict[str, Tensor]:
    """Return which of ``count`` tokens belong to each place in the windows, as masks."""
    end = (torch.arange(count) + 1) / windows.rate  # a token comes with the window in which it ends
    new = (end - 0.5 / windows.rate) % windows.fresh
    number = ((end - 1e-6) // windows.fresh).long()
    full = number * windows.fresh >= windows.history
    masks = {"all": torch.ones(count, dtype=torch.bool), "start": ~full}
    for place in range(PLACES):
        low, high = place * windows.fresh / PLACES, (place + 1) * windows.fresh / PLACES
        masks[f"new {low:.1f}-{high:.1f} s"] = full & (new >= low) & (new < high)
    return masks


def gaps(encode: Encode, windows: Windows, samples_S: Tensor, positional: bool = False) -> dict[str, dict[str, float]]:
    """Return each metric at each place for one file; NaN where the file has no such token."""
    whole, found = encode(samples_S[None]), windows.encode(encode, samples_S[None])
    second = round(windows.rate)
    unrelated = {name: float(metric(whole[:, :-second], whole[:, second:]).mean()) for name, metric in METRICS.items()}
    rows = {"unrelated": unrelated}
    values = {name: metric(found, whole)[0] for name, metric in METRICS.items()}
    for place, mask in places(whole.shape[1], windows).items():
        rows[place] = {name: float(tokens[mask].mean()) for name, tokens in values.items()}
    if positional:
        placed, first = in_place(encode, windows, samples_S), round(windows.history * windows.rate)
        same = whole[:, first : first + placed.shape[1]]
        rows["in place"] = {name: float(metric(placed, same).mean()) for name, metric in METRICS.items()}
    return rows


def in_place(encode: Encode, windows: Windows, samples_S: Tensor) -> Tensor:
    """Return the tokens of whole new seconds with full history, each window heard at its place in the clip."""
    tokens = [samples_S.new_zeros(1, 0, windows.width)]
    count, second = round(windows.fresh * windows.rate), round(windows.fresh * SAMPLE_RATE)
    history = round(windows.history * SAMPLE_RATE)
    for begin in range(history, len(samples_S) - second + 1, second):
        alone = torch.zeros_like(samples_S)
        alone[begin - history : begin + second] = samples_S[begin - history : begin + second]
        first = round(begin / SAMPLE_RATE * windows.rate)
        tokens.append(encode(alone[None])[:, first : first + count])
    return torch.cat(tokens, dim=1)


def summary(files: list[dict[str, dict[str, float]]], seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return value, interval and count of files of each metric at each place."""

    def one(place: str, metric: str) -> dict[str, float]:
        scores = torch.tensor([file[place][metric] for file in files], dtype=torch.float64)
        found = estimate(scores, torch.arange(len(files)), seed=seed)
        return {"value": float(found.value), "low": float(found.low), "high": float(found.high), "n": int(found.n)}

    return {place: {metric: one(place, metric) for metric in METRICS} for place in files[0]}


@torch.no_grad()
def measure(name: str, encoder: nn.Module, sounds: dict[str, Tensor], args: argparse.Namespace) -> dict:
    """Return the report of one encoder."""
    windows = Windows(encoder.rate, encoder.width, args.history, args.fresh)
    start, rows = time.perf_counter(), []
    for file, samples in sounds.items():
        print(f"{name}: {file}", file=sys.stderr)
        rows.append(gaps(whole_clip(encoder), windows, samples, getattr(encoder, "is_whisper", False)))
    numbers = {"rate": encoder.rate, "width": encoder.width, "took_s": time.perf_counter() - start}
    return {**numbers, "parameters": sum(p.numel() for p in encoder.parameters()), "places": summary(rows, args.seed)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, help="folder of sound files")
    parser.add_argument("--encoder", action="append", required=True, help="class path or spec; again for more")
    parser.add_argument("--weights", action="append", required=True, help="folder or random, one for each encoder")
    parser.add_argument("--history", type=float, default=2.0, help="seconds of a window that were heard before")
    parser.add_argument("--fresh", type=float, default=1.0, help="seconds of a window that are new")
    parser.add_argument("--longest", type=float, default=30.0, help="seconds that are taken from the start of a file")
    parser.add_argument("--seed", type=int, default=0, help="of random weights and of the bootstrap")
    parser.add_argument("--output", type=Path, help="JSON file to write, too")
    args = parser.parse_args()
    if len(args.encoder) != len(args.weights):
        parser.error(f"{len(args.encoder)} encoders and {len(args.weights)} weights; give one --weights per --encoder")
    return args


def main() -> None:
    args = arguments()
    files = sorted(file for file in args.audio.iterdir() if file.suffix in SOUND)
    longest = round(args.longest * SAMPLE_RATE)
    sounds = {file.name: torch.from_numpy(read_audio(file)[:longest]) for file in files}
    sounds = {name: samples for name, samples in sounds.items() if len(samples) >= 1.5 * SAMPLE_RATE}
    report = {
        "command": {name: value for name, value in vars(args).items() if name not in ("audio", "output")},
        "machine": {**machine(), "transformers": version("transformers")},
        "files": list(sounds),
        "seconds": sum(len(samples) for samples in sounds.values()) / SAMPLE_RATE,
        "encoders": {
            name: measure(name, encoder, sounds, args)
            for spec, weights in zip(args.encoder, args.weights)
            for name, encoder in encoders(spec, weights, args.seed)
        },
    }
    text = json.dumps(report, indent=1)
    if args.output:
        args.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
