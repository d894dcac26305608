"""``lpm stream``: voices in as they are spoken, a video out as it is made."""

import signal
import sys
from pathlib import Path

from lpm.backbone import CausalDiT
from lpm.sample import FewSteps, PerformanceModel, noise_levels, stream_puppet
from lpm.stream import StreamSampler, broadcast, usual_steps
from lpm.train.checkpoint import load_model
from lpm.train.stream import StreamRequest, to_show


def stream(
    image: Path,
    output: Path,
    model: Path | None = None,
    refiner: Path | None = None,
    speak: Path | None = None,
    listen: Path | None = None,
    text: str = "",
    references: list[str] | None = None,
    seconds: float | None = None,
    realtime: bool = False,
    log: Path | None = None,
    control: Path | None = None,
    size: int = 96,
    fps: float = 24.0,
    steps: int | None = None,
    history: float | None = None,
    chunk: int | None = None,
    guidance: dict[str, float] | None = None,
    seed: int = 0,
) -> None:
    """Stream a character from a picture, two voices that come in as they are spoken, and a prompt.

    Interrupt it (Ctrl-C) to end it; what was written stays a whole file.

    Example:
        lpm stream portrait.png hello.mp4 --speak voice.wav
        lpm stream portrait.png frames.pipe --speak agent.pipe --listen microphone.pipe --realtime

    Args:
        image: first frame of the video; also the global reference unless one is given.
        output: .mp4 with the sound of both voices, .rgb with raw frames; a named pipe or - for raw frames.
        model: checkpoint of `lightning fit`, or a weights folder; the shipped puppet weights if not given, with the
            refiner that ships with them if there is one.
        refiner: weights of a second network that restores detail, whose backbone is a CausalDiT.
        speak: the character's own voice: a sound file; a named pipe or - for raw 16-bit 16 kHz mono samples.
        listen: the partner's voice, likewise.
        text: prompt, at most 512 bytes.
        references: pictures of the character as `global=FILE`, `body.left=FILE` or `expression.happy=FILE`.
        seconds: length; until both voices have ended if not given.
        realtime: hear and show at the pace of the clock; a pipe that has nothing to give is silent, and what comes late
            from the partner is dropped.
        log: event log to write, JSON lines.
        control: JSON lines in a file or a named pipe, such as {"at": 2, "text": "she smiles"} or {"interrupt": true}.
        size: height and width of the video, divisible by 16.
        fps: frames a second.
        steps: evaluations of the network for a chunk; as weights were distilled, 2 for Base weights, if not given.
        history: noise level at which chunks are remembered, 0 is clean; as weights were distilled if not given.
        chunk: latent frames in a chunk, 4 video frames each; as weights were distilled, 6 (a second) for Base weights,
            if not given.
        guidance: scale by stream, such as {speak: 1.5}; the weights' own where absent, 1 is none. Each guided stream
            costs as many evaluations again.
        seed: of the noise.
    """
    show = to_show(
        StreamRequest(
            image, output, speak, listen, text, references or [], seconds, realtime, log, control, guidance or {}, seed
        ),
        size,
        fps,
    )
    performer, second = stream_puppet() if model is None else (load_model(model), None)
    if refiner is not None:
        second = load_refiner(refiner)
    sampler = StreamSampler(performer, second, pick_steps(performer, steps, history), chunk=chunk)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends a live stream wants what was written
    frames = broadcast(sampler.predict_step(show, 0), show, ahead=sampler.chunks(fps).frames)
    if not frames:
        raise ValueError(
            f"0 frames, nothing was written to {output}: no voice gave a sample, or a cue stopped the stream; "
            "give a voice that speaks, or --seconds"
        )
    real, predicted = (size / 1e6 for size in (show.cache_bytes, sampler.cache_bytes(show.opening)))
    remembered = f"caches of {real:.3g} MB, {predicted:.3g} MB predicted"
    print(f"wrote {output}: {frames} frames, {frames / fps:.2f} s; {remembered}", file=sys.stderr)


def pick_steps(model: PerformanceModel, steps: int | None, history: float | None) -> FewSteps:
    """Return the usual steps of the weights, but for what was asked for."""
    usual = usual_steps(model)
    levels = usual.levels if steps is None else tuple(noise_levels(steps, model.shift)[:-1])
    return FewSteps(levels, usual.history if history is None else history)


def load_refiner(source: Path) -> CausalDiT:
    """Return the backbone of weights that were trained to refine."""
    network = load_model(source).backbone
    if not isinstance(network, CausalDiT):
        raise ValueError(f"the backbone of {source} is a {type(network).__name__}; a refiner is a CausalDiT")
    return network
