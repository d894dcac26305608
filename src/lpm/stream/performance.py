"""Performing a show: voices in, chunk by chunk, clips out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Protocol

import numpy as np

from lpm.codec import to_uint8
from lpm.stream.chunks import Chunks
from lpm.stream.clock import SECOND
from lpm.stream.control import Cue, report
from lpm.stream.ear import Hearing
from lpm.stream.events import memory
from lpm.stream.piece import Piece
from lpm.stream.session import Opening, Session
from lpm.stream.show import Clip, Show
from lpm.stream.voice import Voice
from lpm.stream.work import Work
from lpm.types import SAMPLE_RATE


class Sampler(Protocol):
    """What performs: ``StreamSampler``."""

    def open(self, opening: Opening) -> Session: ...
    def steer(self, session: Session, text: list[str] | None, scales: dict[str, float] | None) -> None: ...
    def missing(self, session: Session) -> tuple[int, int]: ...
    def begin(self, session: Session) -> Work | None: ...
    def make(self, work: Work, session: Session) -> Piece | None: ...
    def flush(self, session: Session) -> Iterator[Piece]: ...
    def chunks(self, fps: float) -> Chunks: ...
    def hearings(self, fps: float) -> tuple[Hearing | None, Hearing | None]: ...


def perform(sampler: Sampler, show: Show) -> Iterator[Clip]:
    """Yield a show clip by clip; each chunk is made when its clip is asked for, none ahead.

    Raises:
        ValueError: the opening, or a cue that is known beforehand, asks for what the sampler cannot do.
    """
    try:
        performance = Performance(sampler, show)
        while (work := performance.next_work()) is not None:
            yield from performance.finish(performance.make(work))
        yield from performance.finish(sampler.flush(performance.session))
        show.log.add("close")
    finally:
        show.close()


class Performance:
    """The steps of a show.

    ``busy_ns`` of a chunk counts all that is computed for it: prompts, voices, network and codec, no waiting. What
    the opening takes lies between the events ``open`` and ``audio_in``.
    """

    def __init__(self, sampler: Sampler, show: Show) -> None:
        self.sampler, self.show, self.busy = sampler, show, 0
        show.log.add("open", {"fps": show.opening.fps, "sample_rate": SAMPLE_RATE})
        self.session = sampler.open(show.opening)
        self.fps, self.chunks = show.opening.fps, sampler.chunks(show.opening.fps)
        ears = (self.session.speak, self.session.listen)
        self.voices = [Voice(*parts) for parts in zip(("speak", "listen"), (show.speak, show.listen), ears)]
        self._rehearse(show.cues.known())
        show.begin()  # last, so that nothing grows old before the clock begins
        self.began, self.stopped = show.clock.now(), False

    def next_work(self) -> Work | None:
        """Let the voices come in until the next chunk can begin, and begin it; None at the end of the show."""
        if self.over():
            return None
        needed = self._needed(self.session.chunk)
        self._listen([needed - voice.given for voice in self.voices])
        if self.over():  # the last samples were those of the chunk before
            return None
        while (work := self._begin()) is None:
            self._listen(self.sampler.missing(self.session))
        self.show.log.add("chunk_start", {"k": work.chunk, "audio_to": max(voice.given for voice in self.voices)})
        return work

    def make(self, work: Work) -> Iterator[Piece]:
        """Do a chunk's work; yield what comes out."""
        piece = self.sampler.make(work, self.session)
        if piece is not None:
            yield piece

    def finish(self, pieces: Iterable[Piece]) -> Iterator[Clip]:
        """Yield what pieces show and sound like, cut where the show ends."""
        start = self.show.clock.now()
        for piece in pieces:
            pictures, total = to_uint8(piece.video_BTCHW[0]), self.total()
            first, end = piece.frames.start, piece.frames.stop if total is None else min(piece.frames.stop, total)
            begin, last = (round(frame * SAMPLE_RATE / self.fps) for frame in (first, end))
            sound = np.sum([voice.sound(last - begin) for voice in self.voices], axis=0).clip(-1, 1)
            facts = {"k": piece.chunk, "n_frames": end - first, "pts0": first}
            self.show.log.add("chunk_done", facts | {"busy_ns": self.busy + self.show.clock.now() - start})
            self.show.log.add("mem", memory())
            self.busy, self.show.cache_bytes = 0, self.session.cache_bytes
            if end > first:
                yield Clip(first, begin, pictures[: end - first], sound, self.fps)
            start = self.show.clock.now()
        self.busy += self.show.clock.now() - start  # of chunks that are still on their way

    def over(self) -> bool:
        """Follow the cues that are due; tell whether the next chunk would show nothing more."""
        for cue in self.show.cues.due(self.chunks.begins(self.session.chunk)):
            self._follow(cue)
        total = self.total()
        return self.stopped or (total is not None and self.chunks.shown(self.session.chunk).start >= total)

    def total(self) -> int | None:
        """Return the frames of the show; None while nobody knows."""
        if self.show.seconds is not None:
            return ceil(self.show.seconds * self.fps - 1e-6)
        ends = [voice.end() for voice in self.voices]
        known = [end for end in ends if end is not None]
        return ceil(max(known) * self.fps / SAMPLE_RATE - 1e-6) if len(known) == len(ends) else None

    def _needed(self, chunk: int) -> int:
        """Return the samples from video frame 0 on that a chunk hears or that sound with it."""
        heard = [hearing.last_sample(chunk) for hearing in self.sampler.hearings(self.fps) if hearing]
        return max(ceil(self.chunks.ends(chunk) * SAMPLE_RATE), *heard, 0)

    def _listen(self, counts: Sequence[int]) -> None:
        """Pass on the next samples of each voice; in real time, when the last of them could have been spoken."""
        if self.show.realtime:
            end = max(voice.given + count for voice, count in zip(self.voices, counts))
            self.show.clock.wait_until(self.began + end * SECOND // SAMPLE_RATE)
            self._drop_late()
        for voice, count in zip(self.voices, counts):
            if count > 0:
                facts = {"stream": voice.name, "seq": voice.pieces, "pts": voice.given}
                came = voice.pass_on(count)
                if came:
                    self.show.log.add("audio_in", facts | {"n": came})

    def _drop_late(self) -> None:
        """Drop what comes from the partner after its time; what the character says may come in bursts, and never is."""
        voice = self.voices[1]
        passed = (self.show.clock.now() - self.began) * SAMPLE_RATE // SECOND
        if late := voice.drop_late(passed - voice.given):
            self.show.log.add("audio_late", {"stream": voice.name, "pts": voice.given, "n": late})

    def _begin(self) -> Work | None:
        """Hear the voices of the next chunk, and begin it."""
        with self._computing():
            return self.sampler.begin(self.session)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Count the time inside for the chunk that comes out next."""
        start = self.show.clock.now()
        yield
        self.busy += self.show.clock.now() - start

    def _rehearse(self, cues: Iterable[Cue]) -> None:
        """Raise ValueError for a cue that could not be followed at its time; change nothing."""
        before = self.session.pending
        for cue in cues:
            try:
                self._steer(cue)
            except ValueError as error:
                raise ValueError(f"cue at {cue.at:g} s: {error}") from error
        self.session.pending = before

    def _steer(self, cue: Cue) -> None:
        self.sampler.steer(self.session, None if cue.text is None else [cue.text], cue.guidance)

    def _follow(self, cue: Cue) -> None:
        """Do what a cue says, from the next chunk on; one that came while the show runs may prove impossible."""
        try:
            with self._computing():
                self._steer(cue)
        except ValueError as error:
            report(error)
            return
        if cue.interrupt:
            self.voices[0].interrupt()
        self.stopped = self.stopped or cue.stop
        said = {"text": cue.text is not None, "guidance": cue.guidance is not None}
        for kind, given in (said | {"interrupt": cue.interrupt, "stop": cue.stop}).items():
            if given:
                self.show.log.add("ctrl", {"type": kind, "chunk": self.session.chunk})
