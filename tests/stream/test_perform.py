import io
import json
import math
import os
import threading
import time

import numpy as np
import pytest

from lpm.codec import to_uint8
from lpm.metric import summarise
from lpm.stream import Cue, CueList, EventLog, Show, broadcast, perform, send, send_paced
from tiny_streaming import CHUNK, FPS, opening, sampler, stream


class Clock:
    """A clock that stands still unless somebody waits."""

    def __init__(self):
        self.time = 5_000_000_000

    def now(self):
        return self.time

    def wait_until(self, moment):
        self.time = max(self.time, moment)


class Samples:
    """A voice that is known; live ones give nothing before their time."""

    def __init__(self, samples, end=True):
        self.samples, self.end, self.calls = samples, end, []

    def open(self):
        self.calls.append("open")

    def begin(self):
        self.calls.append("begin")

    def waiting(self):
        return len(self.samples)

    def close(self):
        self.calls.append("close")

    def take(self, count):
        taken, self.samples = self.samples[:count], self.samples[count:]
        return taken

    def ended(self):
        return self.end and not len(self.samples)

    def clear(self):
        self.samples = self.samples[:0]


class List:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.pictures, self.sounds = [], []

    def write(self, picture, sound):
        self.pictures.append(picture)
        self.sounds.append(sound)


def played(streamer, show):
    sink = List()
    send(perform(streamer, show), sink, show.log)
    return np.stack(sink.pictures), np.concatenate(sink.sounds)


def logged(show):
    file = io.StringIO()
    show.log = EventLog(file, show.clock)
    return lambda: [json.loads(line) for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("staggered", [False, True])
def test_a_show_is_the_stream_of_its_voices_as_long_as_they_are(model, voices, staggered):
    streamer = sampler(model, staggered=staggered)
    pictures, sound = played(streamer, Show(opening(), *map(Samples, voices)))
    frames = math.ceil(len(voices[1]) / 16_000 * FPS)
    assert len(pictures) == frames
    assert len(sound) == round(frames / FPS * 16_000)
    padded = [np.pad(samples, (0, 80_000 - len(samples))) for samples in voices]
    expected = to_uint8(stream(streamer, streamer.open(opening()), padded))[:frames]
    np.testing.assert_array_equal(pictures, expected)
    np.testing.assert_allclose(sound, (padded[0] + padded[1])[: len(sound)].clip(-1, 1), atol=1e-7)


@pytest.mark.parametrize("end", [0, 1, 5_000, 16_000 // 3 + 16_000 // 24, 30_000])
def test_a_show_ends_with_the_last_sample(streamer, voices, end):
    events = logged(show := Show(opening(), Samples(voices[0][:end]), Samples(voices[1][: end // 2])))
    clips = list(perform(streamer, show))
    frames = sum(len(clip.pictures_THWC) for clip in clips)
    assert frames == math.ceil(end / 16_000 * FPS)
    assert len([e for e in events() if e["event"] == "chunk_start"]) == math.ceil(max(0, frames - 1) / (4 * CHUNK)) or (
        frames == 1
    )


def test_without_voices_the_character_idles_in_silence(streamer):
    pictures, sound = played(streamer, Show(opening(), seconds=1.0))
    assert (len(pictures), len(sound)) == (24, 16_000)
    assert not sound.any()
    assert (pictures[1:] != pictures[:-1]).any(axis=(1, 2, 3)).all()


def test_every_frame_has_its_own_sound(streamer, voices):
    sink, show = List(), Show(opening(), Samples(voices[0]))
    send(perform(streamer, show), sink, show.log)
    at = 0
    for frame, sound in enumerate(sink.sounds):
        assert at == round(frame / FPS * 16_000)
        at += len(sound)


def test_a_live_voice_that_says_nothing_does_not_stop_the_show(streamer, voices):
    quiet = Samples(np.zeros(0, np.float32), end=False)
    pictures, sound = played(streamer, Show(opening(), quiet, Samples(voices[1]), seconds=1.5))
    still = [np.zeros_like(voices[1]), voices[1]]
    np.testing.assert_array_equal(pictures, to_uint8(stream(streamer, streamer.open(opening()), still))[:36])
    np.testing.assert_allclose(sound, voices[1][:24_000], atol=1e-7)


class Microphone(Samples):
    """A partner who speaks from when the clock begins; from second ``gap`` to ``end`` no sample comes."""

    def __init__(self, clock, gap, end):
        super().__init__(np.full(100_000, 0.1, np.float32))
        self.clock, self.gap, self.end, self.taken = clock, gap, end, 0

    def begin(self):
        self.began = self.clock.now()

    def waiting(self):
        now = (self.clock.now() - self.began) / 1e9
        return int(16_000 * (self.gap if self.gap <= now < self.end else now)) - self.taken

    def take(self, count):
        taken = super().take(min(count, self.waiting()))
        self.taken += len(taken)
        return taken

    def ended(self):
        return False


@pytest.mark.parametrize("voice", ["speak", "listen"])
def test_in_real_time_a_partner_whose_samples_came_late_is_heard_in_time_again(streamer, voice):
    """From 1 s to 2 s nothing comes, and the last chunk that begins meanwhile begins at 1.84 s; then comes all that was
    said. What an agent says is all spoken."""
    clock = Clock()
    microphone = Microphone(clock, 1.0, 2.0)
    show = Show(opening(), seconds=4.0, realtime=True, clock=clock, **{voice: microphone})
    events = logged(show)
    list(perform(streamer, show))
    late = [e for e in events() if e["event"] == "audio_late"]
    assert {e["stream"] for e in late} == ({"listen"} if voice == "listen" else set())
    lag = (clock.now() - microphone.began) / 1e9 - microphone.taken / 16_000
    assert lag == pytest.approx(0.2 if voice == "listen" else 0.84, abs=0.01)
    assert sum(e["n"] for e in late) / 16_000 == pytest.approx(0.84 - lag, abs=0.01)


def test_voices_begin_last_and_are_closed_at_the_end(streamer, voices, monkeypatch):
    """What a microphone hears while the picture is encoded would be old when the clock begins."""
    source, open_session = Samples(voices[0]), streamer.open
    monkeypatch.setattr(streamer, "open", lambda begin: source.calls.append("encode") or open_session(begin))
    clips = perform(streamer, Show(opening(), source, seconds=0.2))
    next(clips)
    assert source.calls == ["encode", "begin"]
    list(clips)
    assert source.calls == ["encode", "begin", "close"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("patience, calls", [(60, ["begin", "close"]), (0.01, ["open", "begin", "close"])])
def test_voices_are_let_in_before_only_for_a_reader_who_does_not_come(
    streamer, voices, tmp_path, monkeypatch, patience, calls
):
    """It may wait for that: this one does, unless we are patient enough for it to come first."""
    monkeypatch.setattr("lpm.stream.recording.PATIENCE", patience)
    os.mkfifo(tmp_path / "frames")
    let_in = threading.Event()

    class Door(Samples):
        def open(self):
            super().open()
            let_in.set()

    def read():
        if "open" in calls:
            let_in.wait(30)
        (tmp_path / "frames").read_bytes()

    reader = threading.Thread(target=read)
    reader.start()
    show = Show(opening(), source := Door(voices[0]), seconds=0.2, output=tmp_path / "frames")
    assert broadcast(perform(streamer, show), show, ahead=8) == 5
    reader.join()
    assert list(dict.fromkeys(source.calls)) == calls


def test_voices_are_closed_when_nobody_takes_more_clips(streamer, voices):
    show = Show(opening(), source := Samples(voices[0]))
    clips = perform(streamer, show)
    next(clips)
    clips.close()
    assert source.calls == ["begin", "close"]


def test_chunks_are_made_when_their_clips_are_asked_for(streamer, voices):
    events = logged(show := Show(opening(), *map(Samples, voices)))
    clips = perform(streamer, show)
    for asked in range(1, 4):
        next(clips)
        assert len([e for e in events() if e["event"] == "chunk_start"]) == asked


def test_in_real_time_no_chunk_begins_before_it_could_have_been_heard(streamer, voices):
    show = Show(opening(), *map(Samples, voices), realtime=True, clock=Clock())
    events = logged(show)
    list(perform(streamer, show))
    opened, *_ = events()
    starts = [e for e in events() if e["event"] == "chunk_start"]
    assert len(starts) > 5
    for start in starts:
        heard = (start["t"] - opened["t"]) / 1e9
        assert heard == pytest.approx(start["audio_to"] / 16_000, abs=1e-6)
        assert 0 <= heard - (8 * (start["k"] + 1) + 1) / FPS <= 0.15


def test_the_log_is_complete_and_can_be_measured(streamer, voices):
    show = Show(opening(), *map(Samples, voices), realtime=True, clock=Clock())
    events = logged(show)
    played(streamer, show)
    found, summary = events(), summarise(events())
    numbers = [e["pts"] for e in found if e["event"] == "frame_out"]
    assert numbers == list(range(summary["frames"]))
    samples = [e for e in found if e["event"] == "audio_in" and e["stream"] == "speak"]
    assert sum(e["n"] for e in samples) == len(voices[0])
    assert [e["pts"] for e in samples] == [0, *np.cumsum([e["n"] for e in samples])[:-1].tolist()]
    assert [e["seq"] for e in samples] == list(range(len(samples)))
    assert sum(e["n_frames"] for e in found if e["event"] == "chunk_done") == summary["frames"]
    assert sum(e["n"] for e in found if e["event"] == "audio_out") == round(summary["frames"] / FPS * 16_000)
    assert (found[0]["event"], found[-1]["event"]) == ("open", "close")
    assert summary["latency_p99"] == 0, "computing takes no time on this clock"


@pytest.mark.parametrize("staggered", [False, True])
def test_the_log_counts_all_that_is_computed_and_no_waiting(model, voices, staggered, monkeypatch):
    show = Show(opening(), *map(Samples, voices), realtime=True, clock=Clock())
    show.cues = CueList([Cue(0.0, text="merry")])
    streamer, events = sampler(model, staggered=staggered), logged(show)
    for name, seconds in {"open": 7, "begin": 0.1, "make": 0.02, "steer": 0.003}.items():
        takes(streamer, name, seconds, show.clock, monkeypatch)
    played(streamer, show)
    busy = [e["busy_ns"] / 1e9 for e in events() if e["event"] == "chunk_done"]
    expected = [0.123] + [0.12] * (len(busy) - 1)
    assert staggered or busy == pytest.approx(expected)
    assert sum(busy) == pytest.approx(sum(expected))
    summary, first_chunk = summarise(events()), 9 / FPS + 0.15
    assert summary["start_to_first_frame"] - summary["first_frame"] == pytest.approx(7 + first_chunk, abs=0.02)


def takes(streamer, name, seconds, clock, monkeypatch):
    """Let a step of the sampler take time."""
    step = getattr(streamer, name)

    def slow(*args):
        clock.time += round(seconds * 1e9)
        return step(*args)

    monkeypatch.setattr(streamer, name, slow)


@pytest.mark.parametrize("at, chunk", [(0.0, 0), (0.1, 1), (1.0, 3), (1.01, 4)])
def test_a_cue_takes_effect_with_the_first_chunk_that_begins_after_it(streamer, voices, at, chunk):
    plain, _ = played(streamer, Show(opening(), *map(Samples, voices)))
    events = logged(show := Show(opening(), *map(Samples, voices), cues=CueList([Cue(at, text="merry and loud")])))
    changed, _ = played(streamer, show)
    first = (plain != changed).any(axis=(1, 2, 3)).nonzero()[0][0]
    assert first == (1 + 8 * chunk if chunk else 1)
    assert [(e["type"], e["chunk"]) for e in events() if e["event"] == "ctrl"] == [("text", chunk)]


LONG = "x" * 600


def test_a_cue_that_is_known_to_be_impossible_is_refused_before_the_show(streamer, voices):
    events = logged(show := Show(opening(), Samples(voices[0]), cues=CueList([Cue(1.0, text=LONG)])))
    with pytest.raises(ValueError, match="cue at 1 s: text of 600 bytes is above the limit of 512"):
        next(perform(streamer, show))
    assert [e["event"] for e in events()] == ["open"]


def test_what_is_known_beforehand_changes_nothing_before_its_time(streamer, voices):
    plain, _ = played(streamer, Show(opening(), Samples(voices[0])))
    later = CueList([Cue(9.0, text="merry and loud", guidance={"speak": 3.0})])
    same, _ = played(streamer, Show(opening(), Samples(voices[0]), cues=later))
    np.testing.assert_array_equal(same, plain)


class Coming(CueList):
    """Cues that nobody knows before they are due."""

    def known(self):
        return []


def test_an_impossible_cue_that_comes_in_is_reported_and_left_out(streamer, voices, capsys):
    cues = Coming([Cue(0.5, text=LONG, stop=True), Cue(1.0, stop=True)])
    events = logged(show := Show(opening(), Samples(voices[0]), cues=cues))
    pictures, _ = played(streamer, show)
    assert len(pictures) == 1 + 8 * 3
    told = capsys.readouterr().err
    assert told == "error: text of 600 bytes is above the limit of 512; shorten the prompt to 512 bytes\n"
    assert [e["type"] for e in events() if e["event"] == "ctrl"] == ["stop"]


def test_an_interruption_silences_the_voice_and_the_show_goes_on(streamer, voices):
    cues = CueList([Cue(1.0, interrupt=True)])
    pictures, sound = played(streamer, Show(opening(), Samples(voices[0]), seconds=2.5, cues=cues))
    assert len(pictures) == 60
    last = sound.nonzero()[0][-1] / 16_000
    assert 1.0 <= last <= 1.0 + 1 / FPS + 0.15, "what was heard already is the look-ahead of the lips"
    np.testing.assert_allclose(sound[:16_000], voices[0][:16_000])


def test_a_show_can_be_stopped(streamer, voices):
    show = Show(opening(), *map(Samples, voices), cues=CueList([Cue(0.5, stop=True)]))
    pictures, _ = played(streamer, show)
    assert len(pictures) == 1 + 8 * 2


def test_a_show_without_output_is_not_written(streamer):
    show = Show(opening(), seconds=1.0)
    with pytest.raises(ValueError, match="no output"):
        broadcast(perform(streamer, show), show, ahead=8)


def test_who_makes_frames_too_fast_is_held_up(streamer, voices):
    """With a clock that never lets a frame out, no more is made than may wait."""
    released, show = threading.Event(), Show(opening(), *map(Samples, voices))

    class Stuck(Clock):
        def wait_until(self, moment):
            released.wait(20)

    events, sink = logged(show), List()
    thread = threading.Thread(
        target=send_paced, args=(perform(streamer, show), sink, show.log, Stuck(), FPS, 8), daemon=True
    )
    thread.start()
    started = []
    while not started or started[-1] > (started[-2] if len(started) > 1 else -1):
        thread.join(1.0)
        started.append(len([e for e in events() if e["event"] == "chunk_start"]))
    assert 1 <= started[-1] <= 3
    released.set()
    thread.join(60)
    assert len(sink.pictures) == math.ceil(len(voices[1]) / 16_000 * FPS)


def test_a_paced_sink_that_fails_ends_the_show(streamer, voices):
    class Closed(List):
        def write(self, picture, sound):
            if len(self.pictures) == 3:
                raise BrokenPipeError
            super().write(picture, sound)

    show = Show(opening(), *map(Samples, voices))
    with pytest.raises(BrokenPipeError):
        send_paced(perform(streamer, show), Closed(), show.log, Clock(), FPS, 8)


def test_a_show_that_fails_ends_the_paced_sink(streamer, voices):
    class Broken(Samples):
        def take(self, count):
            if len(self.samples) < 40_000:
                raise ValueError("this sound is corrupt")
            return super().take(count)

    show, sink = Show(opening(), Broken(voices[0])), List()
    with pytest.raises(ValueError, match="corrupt"):
        send_paced(perform(streamer, show), sink, show.log, Clock(), FPS, 8)
    assert len(sink.pictures) > 8


@pytest.mark.timeout(60)
@pytest.mark.parametrize("ahead", [8, 25])  # the nine frames of the first clip fill the queue, or not
def test_an_interruption_does_not_wait_for_a_sink_that_takes_nothing(streamer, voices, ahead):
    released, began = threading.Event(), threading.Event()

    class Full(List):
        def write(self, picture, sound):
            began.set()
            released.wait(60)
            super().write(picture, sound)

    def clips(show):
        for clip in perform(streamer, show):
            yield clip
            assert began.wait(30)
            raise KeyboardInterrupt

    show, sink = Show(opening(), *map(Samples, voices)), Full()
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        send_paced(clips(show), sink, show.log, Clock(), FPS, ahead)
    assert time.monotonic() - before < 20
    threads = threading.active_count()
    released.set()
    for _ in range(1000):
        if threading.active_count() < threads:
            break
        time.sleep(0.01)
    assert threading.active_count() < threads, "the thread ends when its sink lets it"
    assert len(sink.pictures) == 1


def test_after_an_interruption_the_frames_that_wait_are_shown(streamer, voices):
    def clips(show):
        yield next(perform(streamer, show))
        raise KeyboardInterrupt

    show, sink = Show(opening(), *map(Samples, voices)), List()
    with pytest.raises(KeyboardInterrupt):
        send_paced(clips(show), sink, show.log, Clock(), FPS, 25)
    assert len(sink.pictures) == 9


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed of -1 is negative; choose 0 or more"):
        Show(opening(seed=-1))


def test_the_seed_decides(streamer, voices):
    pictures = []
    for seed in (0, 0, 1):
        begin = opening()
        begin.seed = seed
        pictures.append(played(streamer, Show(begin, Samples(voices[0]), seconds=0.5))[0])
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
