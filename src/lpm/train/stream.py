"""``lightning predict`` of streams: requests in a recipe -> shows -> videos that are written as they are made."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lpm.stream import Clip, Opening, Show, StreamSampler, broadcast, check_output, open_cues, open_source
from lpm.train.predict import within
from lpm.train.request import check_size, read_picture, read_references


@dataclass
class StreamRequest:
    """One stream to make.

    Attributes:
        image: first frame of the video; also the global reference unless one is given.
        output: .mp4 with the sound of both voices, .rgb with raw frames; a named pipe or - for raw frames.
        speak: the character's own voice: a sound file; a named pipe or - for raw 16-bit 16 kHz mono samples.
        listen: the partner's voice, likewise.
        text: prompt, at most 512 bytes.
        references: pictures of the character as ``global=FILE``, ``body.left=FILE`` or ``expression.happy=FILE``.
        seconds: length; until both voices have ended if None.
        realtime: hear and show at the pace of the clock.
        log: event log to write, JSON lines.
        control: cues, JSON lines in a file or a named pipe.
        guidance: scale by stream (text, speak, listen); the model's own where absent, 1 is none.
        seed: of the noise.
    """

    image: Path
    output: Path
    speak: Path | None = None
    listen: Path | None = None
    text: str = ""
    references: list[str] = field(default_factory=list)
    seconds: float | None = None
    realtime: bool = False
    log: Path | None = None
    control: Path | None = None
    guidance: dict[str, float] = field(default_factory=dict)
    seed: int = 0


def to_show(request: StreamRequest, size: int, fps: float) -> Show:
    """Read a request's pictures and open its voices; nothing is written yet.

    Raises:
        ValueError: a file is missing or not what it should be, or there is nothing to perform.
    """
    check_size(size)
    check_stream(request, fps)
    opening = Opening(
        picture_B3HW=read_picture(Path(request.image), size)[None],
        references=read_references(request.references, Path(request.image), size),
        text=[request.text],
        fps=fps,
        scales=request.guidance,
        seed=request.seed,
    )
    control, log, *voices = (
        None if path is None else Path(path) for path in (request.control, request.log, request.speak, request.listen)
    )
    cues = open_cues(control)
    speak, listen = (None if voice is None else open_source(voice, wait=not request.realtime) for voice in voices)
    show = Show(opening, speak, listen, request.seconds, cues, request.realtime)
    show.output, show.log_file = Path(request.output), log
    return show


def check_stream(request: StreamRequest, fps: float) -> None:
    """Raise ValueError unless there is something to perform and a place to write it."""
    check_output(Path(request.output))
    if not fps > 0:
        raise ValueError(f"fps of {fps} is not positive; choose 24")
    if request.seconds is not None and not 0 < request.seconds < float("inf"):
        raise ValueError(f"seconds of {request.seconds} are not positive and finite; leave them out for the voices")
    if not (request.speak or request.listen or request.seconds):
        raise ValueError("nothing to perform: give --speak, --listen or --seconds")
    if request.speak is not None and request.speak == request.listen:
        raise ValueError(f"both voices come from {request.speak}; give each its own file or pipe")
    if request.log is not None and not Path(request.log).parent.is_dir():
        raise ValueError(f"folder {Path(request.log).parent} does not exist; make it first")


class StreamRequests(LightningDataModule):
    """Requests as shows, performed one after the other.

    Args:
        requests: what to perform; all pictures are read, and all sound files opened, before the first video is
            made; pipes of voices when their show begins.
        size: height and width of the videos, divisible by 16.
        fps: frames a second.
    """

    def __init__(self, requests: list[StreamRequest], size: int = 96, fps: float = 24.0) -> None:
        super().__init__()
        if not requests:
            raise ValueError("no requests; give at least one with image and output")
        self.requests, self.size, self.fps = requests, size, fps
        self.shows: list[Show] = []

    def setup(self, stage: str) -> None:
        """Open every request."""
        self.shows = [to_show(request, self.size, self.fps) for request in self.requests]

    def predict_dataloader(self) -> DataLoader[Show]:
        """Return the shows in order."""
        return DataLoader(self.shows, batch_size=None)  # type: ignore[arg-type]


class WriteStreams(Callback):
    """Write each show to its output while it is performed: ``predict_step`` returns clips that are not made yet.

    They are made in the precision of the trainer. A reader who leaves ends that show alone.
    """

    def __init__(self) -> None:
        self.cut_short: list[str] = []

    def on_predict_start(self, trainer: Trainer, pl_module: StreamSampler) -> None:
        """Forget the shows of before."""
        self.cut_short = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: StreamSampler,
        outputs: Iterator[Clip],
        batch: Show,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take and write all clips."""
        clips = within(trainer.precision_plugin.predict_step_context, outputs)
        try:
            broadcast(clips, batch, ahead=pl_module.chunks(batch.opening.fps).frames)
        except BrokenPipeError:  # the other shows have readers of their own
            self.cut_short.append(str(batch.output))

    def on_predict_end(self, trainer: Trainer, pl_module: StreamSampler) -> None:
        """Print which shows were cut short.

        Raises:
            BrokenPipeError: some were; commands take it for a good end.
        """
        if self.cut_short:
            line = f"cut short where their readers left: {', '.join(self.cut_short)}"
            print(line, file=sys.stderr)
            raise BrokenPipeError(line)
