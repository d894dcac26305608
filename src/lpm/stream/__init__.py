"""Live streams: a character that speaks and listens, chunk by chunk, at constant memory.

``StreamSampler`` turns a picture and two voices into video; ``Session`` is what one stream remembers; ``perform`` takes
voices from files and pipes, and ``send`` or ``send_paced`` writes what comes out.
"""

from lpm.stream.chunks import Chunks
from lpm.stream.clock import Clock, Playout, WallClock
from lpm.stream.control import Cue, CueList, CuePipe, Cues, open_cues, parse_cue
from lpm.stream.ear import Ear, Hearing, window_of
from lpm.stream.events import EventLog, Log, NoLog, memory
from lpm.stream.known import stream_batch
from lpm.stream.performance import perform
from lpm.stream.piece import Piece
from lpm.stream.pipeline import Pipeline
from lpm.stream.recording import broadcast, send, send_paced
from lpm.stream.sampler import StreamSampler, usual_steps
from lpm.stream.session import Opening, Session, Steering, Visual
from lpm.stream.show import Clip, Show
from lpm.stream.sinks import Mp4Sink, RawSink, Sink, check_output, open_sink
from lpm.stream.snapshot import save_session
from lpm.stream.sources import FileSource, PipeSource, Source, is_pipe, open_source
from lpm.stream.stages import ChunkNoise, Decoder, Generator, Guided, Refiner, Stage
from lpm.stream.work import Work

__all__ = [
    "ChunkNoise",
    "Chunks",
    "Clip",
    "Clock",
    "Cue",
    "CueList",
    "CuePipe",
    "Cues",
    "Decoder",
    "Ear",
    "EventLog",
    "FileSource",
    "Generator",
    "Guided",
    "Hearing",
    "Log",
    "Mp4Sink",
    "NoLog",
    "Opening",
    "Piece",
    "PipeSource",
    "Pipeline",
    "Playout",
    "RawSink",
    "Refiner",
    "Session",
    "Show",
    "Sink",
    "Source",
    "Stage",
    "Steering",
    "StreamSampler",
    "Visual",
    "WallClock",
    "Work",
    "broadcast",
    "check_output",
    "is_pipe",
    "memory",
    "open_cues",
    "open_sink",
    "open_source",
    "parse_cue",
    "perform",
    "save_session",
    "send",
    "send_paced",
    "stream_batch",
    "usual_steps",
    "window_of",
]
