import json

import pytest

from lpm.train.timeline import read_prompts
from lpm.types import Prompt


def test_rows_with_their_start(tmp_path):
    (tmp_path / "day.yaml").write_text("- {start: 0, text: nods}\n- start: 5.5\n  text: laughs\n")
    assert read_prompts(tmp_path / "day.yaml", 24.0) == [Prompt(0.0, "nods"), Prompt(5.5, "laughs")]


def test_prompts_alone_take_turns_of_125_frames(tmp_path):
    (tmp_path / "day.json").write_text(json.dumps(["nods", "laughs", "yawns"]))
    assert read_prompts(tmp_path / "day.json", 25.0) == [
        Prompt(0.0, "nods"),
        Prompt(5.0, "laughs"),
        Prompt(10.0, "yawns"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- [1, nods", "neither JSON nor YAML"),
        ("nods", "holds no list"),
        ("[]", "holds no list"),
        ("- {start: -1, text: nods}", "SECONDS of 0 or more"),
        ("- {start: 1, text: nods, stop: 3}", "is not {start: SECONDS, text: PROMPT}"),
        ("- {begin: 1, text: nods}", "is not {start: SECONDS, text: PROMPT}"),
        ("- nods\n- {start: 1, text: nods}", "'nods' is not"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "day.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_prompts(tmp_path / "day.yaml", 24.0)
    with pytest.raises(ValueError, match="are missing"):
        read_prompts(tmp_path / "none.yaml", 24.0)
