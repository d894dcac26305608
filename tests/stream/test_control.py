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


def test_cues_come_through_a_named_pipe_and_bad_ones_are_left_out(tmp_path, capsys):
    os.mkfifo(tmp_path / "control")
    cues = open_cues(tmp_path / "control")
    assert list(cues.due(0.0)) == []
    with (tmp_path / "control").open("w") as file:
        file.write('{"text": "a"}\nnothing\n{"at": 9, "text": "b"}\n')
    found = []
    for _ in range(500):
        found += cues.due(1.0)
        if found:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert [cue.text for cue in [*found, *cues.due(1.0)]] == ["a"]
    assert capsys.readouterr().err.startswith("error: cue 'nothing' is no JSON")
    assert [cue.text for cue in cues.due(9.0)] == ["b"]
