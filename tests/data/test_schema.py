import copy

import numpy as np
import pytest

from lpm.data import EXPRESSIONS, SchemaError, check_references, frames_to_states, states_to_frames, validate


def changed(sample, **meta):
    sample = copy.deepcopy(sample)
    sample["json"].update(meta)
    return sample


def test_good_sample_passes(sample):
    assert validate(sample) is None


@pytest.mark.parametrize(
    "meta, reason",
    [
        ({"schema_version": "0.9"}, "schema version"),
        ({"key": "another"}, "key"),
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"frames": -3}, "frames"),
        ({"frames": 16.5}, "frames"),
        ({"width": None}, "width"),
        ({"caption": None}, "caption"),
        ({"caption": ["waves"]}, "caption"),
        ({"states": []}, "states cover"),
        ({"states": [[0, 9, "speaking"]]}, "states cover"),
        ({"states": [[0, 4, "speaking"], [5, 17, "idle"]]}, "states cover"),
        ({"states": [[0, 17, "singing"]]}, "state label"),
        ({"states": [[0, 17]]}, "state label"),
        ({"states": 5}, "states"),
        ({"states": [[0, 17.0, "idle"]]}, "state ends"),
        ({"states": [[0.0, 17, "idle"]]}, "state ends"),
        ({"states": [[0, None, "idle"]]}, "state ends"),
        ({"states": [[False, 17, "idle"]]}, "state ends"),
        ({"identity": ["Ann"]}, "identity"),
        ({"references": [{"file": "ref.09.png", "kind": "global"}]}, "reference file"),
        ({"references": [{"file": "../ref.png", "kind": "global"}]}, "reference file"),
        ({"references": [{"file": None, "kind": "global"}]}, "reference file"),
        ({"references": [{"kind": "head"}]}, "reference kind"),
        ({"references": [{"kind": "body", "sub_kind": "above"}]}, "reference sub-kind"),
        ({"references": [{"kind": "global"}] * 2}, "too many global references"),
        ({"references": [{"kind": "body", "sub_kind": "left"}] * 5}, "too many body references"),
        ({"references": [{"kind": "body", "sub_kind": "left"}] * 2}, "repeated reference"),
        ({"references": ["ref.00.png"]}, "references"),
    ],
)
def test_each_defect_has_its_reason(sample, meta, reason):
    with pytest.raises(SchemaError) as caught:
        validate(changed(sample, **meta))
    assert caught.value.reason == reason
    assert "clip000" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_fields_and_broken_json(sample):
    for name in ("mp4", "json"):
        with pytest.raises(SchemaError, match=f"no {name}"):
            validate({key: value for key, value in sample.items() if key != name})
    with pytest.raises(SchemaError, match="cannot be parsed"):
        validate({**sample, "json": b"{"})
    with pytest.raises(SchemaError, match="no object"):
        validate({**sample, "json": b"[]"})


def test_nine_expressions_are_one_clear_line():
    rows = [{"kind": "expression", "sub_kind": name} for name in (*EXPRESSIONS, "happy")]
    with pytest.raises(ValueError, match="has 9 expression references, at most 8 are allowed; remove 1"):
        check_references(rows)


def test_states_round_trip():
    row = np.random.default_rng(0).integers(0, 3, 200).astype(np.int8)
    np.testing.assert_array_equal(states_to_frames(frames_to_states(row), 200), row)
    assert frames_to_states(np.zeros(0, np.int8)) == []
