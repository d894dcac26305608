"""Two processes train; the first one reports on every clip, and waits for nobody."""

import json

from processes import run_processes
from report_work import report


def test_the_first_process_measures_every_clip_alone(corpus, tmp_path):
    clips = {name: ["clip008", "clip009"] for name in ("puppets", "pairs", "audio")}
    assert run_processes(report, 2, tmp_path, str(corpus), str(tmp_path)) == [(2, clips), (2, clips)]
    after_fit, after_test = (json.loads((tmp_path / name).read_text()) for name in ("fit.json", "performance.json"))
    assert {name: found["clips"] for name, found in after_fit.items()} == {"seen": 2, "held_out": 2}
    assert after_test["test"]["clips"] == 2
