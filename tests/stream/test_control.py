import os
import time

import pytest

from lpm.stream import Cue, CueList, open_cues, parse_cue


def test_a_cue_is_a_line_of_json():
    line = '{"at": 2.5, "text": "she smiles", "guidance": {"speak": 2}, "interrupt": true, "stop": false}'
    assert parse_cue(line) == Cue(2.5, "she smiles", {"speak": 2}, True, False)
    assert parse_cue("{}") == Cue()


@pytest.mark.parametrize(
    "line, message",
    [
        ("she smiles", "no JSON"),
        ("[1]", "no object of at, text"),
        ('{"txt": "x"}', "no object of at, text"),
        ('{"text": 3}', "text of 3 has the wrong type"),
        ('{"guidance": {"voice": 2}}', "guidance of voice"),
        ('{"guidance": {"speak": "2"}}', "guidance of speak of '2' is no finite number"),
        ('{"guidance": {"speak": NaN}}', "guidance of speak of nan is no finite number"),
        ('{"guidance": {"speak": true}}', "guidance of speak of True is no finite number"),
        ('{"at": NaN, "text": "a"}', "at of nan is no finite number"),
        ('{"at": 1e999}', "at of inf is no finite number"),
        ('{"at": %s}' % ("9" * 400), "is no finite number"),
        ('{"at": %s}' % ("9" * 5_000), "no JSON"),
        ('{"at": "1"}', "at of '1' is no finite number"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_bad_cues_are_named(line, message):
    with pytest.raises(ValueError, match=message):
        parse_cue(line)


def test_cues_are_due_in_their_order():
    cues = CueList([Cue(3.0, text="c"), Cue(1.0, text="a"), Cue(1.0, text="b")])
    assert [[cue.text for cue in cues.due(at)] for at in (0.0, 1.0, 1.0, 5.0)] == [[], ["a", "b"], [], ["c"]]


def test_cues_of_a_file_are_read_beforehand(tmp_path):
    (tmp_path / "cues.jsonl").write_text('{"at": 1, "text": "a"}\n\n{"stop": true}\n')
    assert [cue.stop for cue in open_cues(tmp_path / "cues.jsonl").due(1.0)] == [True, False]
    (tmp_path / "cues.jsonl").write_text("nothing\n")
    with pytest.raises(ValueError, match="no JSON"):
        open_cues(tmp_path / "cues.jsonl")
    with pytest.raises(ValueError, match="missing"):
        open_cues(tmp_path / "none.jsonl")
    assert list(open_cues(None).due(100.0)) == []


def test_cues_of_a_file_are_utf_8(tmp_path):
    (tmp_path / "cues.jsonl").write_text('{"text": "caf\u00e9\u2028bar"}\n', encoding="utf-8")
    assert open_cues(tmp_path / "cues.jsonl").known() == [Cue(text="caf\u00e9\u2028bar")]
    (tmp_path / "cues.jsonl").write_bytes(b'{"text": "caf\xe9"}')
    with pytest.raises(ValueError, match="no UTF-8"):
        open_cues(tmp_path / "cues.jsonl")


def eventually(cues, seconds=1.0):
    """The cues that are due, once some are."""
    for _ in range(500):
        if found := list(cues.due(seconds)):
            return [*found, *cues.due(seconds)]
        time.sleep(0.01)
    return []


def test_cues_come_through_a_named_pipe_and_bad_ones_are_left_out(tmp_path, capsys):
    os.mkfifo(tmp_path / "control")
    cues = open_cues(tmp_path / "control")
    assert list(cues.due(0.0)) == []
    with (tmp_path / "control").open("w") as file:
        file.write('nothing\n{"at": 9, "text": "b"}\n{"text": "a"}\n')
    assert [cue.text for cue in eventually(cues)] == ["a"]
    assert capsys.readouterr().err.startswith("error: cue 'nothing' is no JSON")
    assert [cue.text for cue in cues.due(9.0)] == ["b"]


@pytest.mark.timeout(60)
def test_one_writer_after_the_other_is_heard(tmp_path, capsys):
    os.mkfifo(tmp_path / "control")
    cues = open_cues(tmp_path / "control")
    assert cues.known() == []
    for text, end in (("a", b"\n"), ("b", b""), ("c", b"\n")):
        (tmp_path / "control").write_bytes(b'\xff\n{"text": "%s"}' % text.encode() + end)
        assert [cue.text for cue in eventually(cues)] == [text]
    assert "is no UTF-8" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_cues_that_are_closed_let_go_of_their_pipe(tmp_path):
    os.mkfifo(tmp_path / "control")
    cues = open_cues(tmp_path / "control")
    cues.close()

    def write_on():
        while True:
            os.close(os.open(tmp_path / "control", os.O_WRONLY | os.O_NONBLOCK))
            time.sleep(0.01)

    with pytest.raises(OSError, match="No such device"):  # nobody reads
        write_on()
