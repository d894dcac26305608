"""The process that makes one file of a corpus: `python -m lpm.data.puppets.worker FOLDER < job.json`.

It needs neither torch nor Lightning, so that it starts fast, and prints the number of frames after each clip.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

from lpm.data.puppets.camera import make_raw
from lpm.data.puppets.clip import make_clip
from lpm.data.puppets.plan import ClipPlan, CorpusSpec
from lpm.data.puppets.summary import row_path


def main() -> None:
    """Read a job from stdin and make its file."""
    folder = Path(sys.argv[1])
    job = json.load(sys.stdin)
    spec = CorpusSpec(**job["spec"])
    if "clips" in job:
        write_shard(folder, job, spec)
    else:
        make_raw(folder / job["file"], job["index"], spec, report)
        write_rows(folder, job, [])


def write_shard(folder: Path, job: dict[str, Any], spec: CorpusSpec) -> None:
    """Write the clips of a job to one tar; the name is given last, so a shard under its name is whole."""
    path = folder / job["file"]
    part = path.with_name(f".{path.name}.part")
    rows = []
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for fields in job["clips"]:
            clip = ClipPlan(**fields)
            files, row = make_clip(clip, spec)
            for suffix, data in sorted(files.items()):
                add(tar, f"{clip.key}.{suffix}", data)
            rows.append(row)
            report(spec.frames)
    write_rows(folder, job, rows)
    os.replace(part, path)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without owner or time, so that equal samples give equal bytes."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def write_rows(folder: Path, job: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write what the card needs to know about a file."""
    path = row_path(folder, job)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"hash": job["hash"], "clips": rows}))
    os.replace(part, path)


def report(frames: int) -> None:
    """Tell the parent how many more frames are done; a parent that is gone ends this process here."""
    print(frames, flush=True)


if __name__ == "__main__":
    main()
