"""``lpm doctor`` tells what is there and whose ``lightning`` a shell would start."""

import json
import os

from lpm.cli import main
from lpm.cli.doctor import doctor
from lpm.cli.scripts import lightning_on_path


def script(folder, text: str) -> None:
    (folder / "lightning").write_text(text)
    (folder / "lightning").chmod(0o755)


def test_the_report_names_versions_devices_and_attention(capsys):
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert all(word in report for word in ("lpm", "torch", "lightning", "cpu", "attention sdpa", "espeak"))


def test_json_is_json(capsys):
    assert doctor(json=True) == 0
    assert json.loads(capsys.readouterr().out)["torch"]["state"] == "ok"


def test_a_foreign_lightning_on_the_path_is_told_from_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    script(tmp_path, "#!/usr/bin/python\nfrom lightning_sdk.cli import main\n")
    assert lightning_on_path() == (tmp_path / "lightning", False)
    script(tmp_path, "#!/usr/bin/python\nfrom lpm.cli import lightning_main\n")
    assert lightning_on_path() == (tmp_path / "lightning", True)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert lightning_on_path() == (None, False)


def test_a_malicious_lightning_is_reported(monkeypatch, capsys):
    monkeypatch.setattr("lpm.cli.doctor.version", lambda name: "2.6.3")
    assert doctor() == 1
    assert "malicious" in capsys.readouterr().out
