"""What a chunk of a stream costs: ``python benchmarks/causal.py`` writes benchmarks/results/causal.json.

A full cache at puppet size (the Base weights that ship, random latents and voices, one stream, 96 x 96 pixels, 6 latent
frames a chunk, sink 3, window 2). One run compares, in turns: keys turned once a chunk against once a step, 8-bit
against exact storage, and a stream's chunk against the same chunk at the end of a whole clip. Times are processor time
of this process: neighbours count for less. Also: memory as predicted and as allocated, memory predicted for large sizes
at 832 x 480, and the error of 8 bits.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from performance import machine

from lpm.backbone import CausalDiT, cache_bytes, lpm_1b, lpm_17b
from lpm.nn import EightBit
from lpm.sample import base_puppet
from lpm.types import AudioFeatures, Conditions

FPS = 24.0


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return milliseconds at p50, p95 and p99."""
    found = torch.tensor(seconds, dtype=torch.float64).quantile(torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64))
    return dict(zip(("p50", "p95", "p99"), (round(1000 * float(x), 3) for x in found)))


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Time every call once a round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            if turn:
                seconds[name].append(time.process_time() - begin)
    return {name: quantiles(values) for name, values in seconds.items()}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/causal.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = CausalDiT(base_puppet().backbone)  # type: ignore[arg-type]
    chunks = model.sink + model.window + 1
    clip, t = torch.randn(1, 1 + chunks * model.chunk, 32, 12, 12), torch.full((1, 1 + chunks * model.chunk), 0.6)
    conditions = Conditions(
        AudioFeatures(torch.randn(1, 450, 128), 50.0, -2.0), AudioFeatures(torch.randn(1, 110, 128), 12.5, -2.0)
    )
    noisy, levels = clip[:, -model.chunk :], t[:, -model.chunk :]
    caches = {
        name: model.init_cache(clip[:, 0], conditions, FPS, stored, turn_once)
        for name, stored, turn_once in (
            ("exact, turned once", None, True),
            ("exact, turned at each step", None, False),
            ("8 bits, turned at each step", EightBit, False),
        )
    }
    for cache in caches.values():
        for index in range(chunks - 1):
            part = slice(1 + index * model.chunk, 1 + (index + 1) * model.chunk)
            model.extend(clip[:, part], t[:, part], conditions, cache)

    def forward(name: str) -> torch.Tensor:
        return model(noisy, levels, conditions, cache=caches[name])

    def chunk(name: str) -> None:  # the paper's two steps, and remembering
        forward(name), forward(name), model.extend(noisy, levels, conditions, caches[name])

    exact = forward("exact, turned once")
    errors = {name: float((forward(name) - exact).norm() / exact.norm()) for name in caches}
    calls: dict[str, Callable[[], object]] = {f"forward: {name}": (lambda name=name: forward(name)) for name in caches}
    calls |= {f"chunk: {name}": (lambda name=name: chunk(name)) for name in caches}
    calls["whole clip"] = lambda: model(clip, t, conditions, FPS)
    timed = in_turns(calls, args.rounds)

    def ratio(a: str, b: str) -> float:
        return round(timed[a]["p50"] / timed[b]["p50"], 3)

    pairs = {
        kind: (f"{kind}: exact, turned at each step", f"{kind}: exact, turned once") for kind in ("forward", "chunk")
    }
    with torch.device("meta"):
        large = {"lpm_1b": CausalDiT(lpm_1b()), "lpm_17b": CausalDiT(lpm_17b())}
    report = {
        "milliseconds": timed,
        "ratios": {
            "forward: turned at each step / once": ratio(*pairs["forward"]),
            "chunk: turned at each step / once": ratio(*pairs["chunk"]),
            "forward: 8 bits / exact, turned at each step": ratio(
                "forward: 8 bits, turned at each step", pairs["forward"][0]
            ),
            "whole clip / forward": ratio("whole clip", pairs["forward"][1]),
        },
        "relative_error": errors,
        "bytes": {
            name: {
                "predicted": cache_bytes(model, 12, 12, 0, 1, torch.float32, "8 bits" in name, "once" in name),
                "allocated": cache.bytes,
            }
            for name, cache in caches.items()
        },
        "bytes predicted at 832 x 480, bfloat16": {
            name: {
                "turned once": cache_bytes(network, 60, 104, turn_once=True),
                "turned at each step": cache_bytes(network, 60, 104),
                "8 bits": cache_bytes(network, 60, 104, eight_bit=True),
            }
            for name, network in large.items()
        },
    }
    print(json.dumps(report, indent=1))
    command = {name: str(value) for name, value in vars(args).items()}
    args.output.write_text(json.dumps({"command": command, "machine": machine(), **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
