"""Build a puppet corpus: shards and raw videos, one fresh process per file, resumable and reproducible.

espeak-ng repeats itself exactly only in a fresh process, so every shard and every raw video is made by a process of its
own. The bytes of a file depend on the spec alone, never on the number of workers or on what was built before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

import lpm
from lpm.data.puppets.card import write_card
from lpm.data.puppets.plan import CORPUS_VERSION, CorpusSpec, plan_corpus, spec_hash, whole_latent_frames
from lpm.data.puppets.progress import track
from lpm.data.puppets.summary import row_path
from lpm.data.shards import write_index

Job = dict[str, Any]


def build_corpus(folder: Path, spec: CorpusSpec | None = None, workers: int | None = None) -> Path:
    """Build the corpus of `spec` in `folder`, or finish one that was interrupted, and return the folder.

    Writes `shards/{train,seen,val,test}-NNNN.tar` with `shards/index.json`, `raw/*.mp4` with a `.json` of ground truth
    each, `corpus.json` (the spec) and the card (`card.md`, `card.json`, `card/*.png`). Files that exist are kept; a
    killed build leaves only whole files behind.

    Args:
        folder: where to build; made if missing.
        spec: what to build, `CorpusSpec()` if None.
        workers: processes at a time, all cores if None.

    Raises:
        ValueError: the folder cannot be written, or holds another corpus, or shards and videos that are no corpus.
        RuntimeError: a worker failed; the message carries its last line.
        ImportError: the extra `puppets` is not installed.
    """
    spec = spec or CorpusSpec()
    folder = Path(folder)
    require_extra()
    claim(folder, spec)
    with FileLock(folder / ".lock"):  # a second build of the same corpus waits and then finds it finished
        finish(folder, spec, workers or os.cpu_count() or 1)
    return folder


def finish(folder: Path, spec: CorpusSpec, workers: int) -> None:
    """Make the files that are missing, then the index and the card."""
    jobs = [job for job in plan_jobs(spec) if not finished(folder, job)]
    if jobs:
        with track(sum(job["frames"] for job in jobs)) as advance:
            run_jobs(folder, jobs, workers, advance)
        write_index(folder / "shards")
    if jobs or not (folder / "card.json").exists():
        write_card(folder, spec)


def require_extra() -> None:
    """Raise ImportError at once, not in a worker, when the extra `puppets` is not installed."""
    missing = [name for name in ("cv2", "espeakng_loader", "matplotlib") if find_spec(name) is None]
    if missing:
        raise ImportError(f'puppets need {", ".join(missing)}: pip install "lpm[puppets]"')


def claim(folder: Path, spec: CorpusSpec) -> None:
    """Make the folder and write `corpus.json`, unless another build has.

    Raises:
        ValueError: the folder cannot be written, or holds another corpus, or shards and videos that are no corpus.
    """
    text = json.dumps({"version": CORPUS_VERSION, "hash": spec_hash(spec), "spec": asdict(spec)}, indent=1)
    path = folder / "corpus.json"
    try:
        for name in ("shards", "raw", "rows"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".claim.lock"):  # not the lock of the build: another corpus is refused at once
            if not path.exists():
                refuse_others(folder)
                part = path.with_suffix(".part")
                part.write_text(text)
                os.replace(part, path)
        found = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}); choose a folder you own") from error
    if found["hash"] != spec_hash(spec):
        change = differences(found, spec)
        raise ValueError(f"{folder} holds another corpus ({change}); choose another folder or delete it")


def refuse_others(folder: Path) -> None:
    """Raise ValueError when a folder without `corpus.json` holds files such as a build would replace."""
    for pattern in ("shards/*.tar", "raw/*.mp4"):
        if any(folder.glob(pattern)):
            raise ValueError(f"{folder} holds {pattern} but no corpus.json, so it is no corpus; choose another folder")


def differences(found: dict[str, Any], spec: CorpusSpec) -> str:
    """Say which fields of a stored spec differ from the wanted one."""
    stored = found["spec"]
    pairs = [(key, stored.get(key), value) for key, value in asdict(spec).items()]
    changed = [f"{key} {old} instead of {new}" for key, old, new in pairs if old != new]
    return ", ".join(changed) or "drawn by another version"


def plan_jobs(spec: CorpusSpec) -> list[Job]:
    """Return one job per shard and raw video, in the order in which they are built."""
    base = {"spec": asdict(spec), "hash": spec_hash(spec)}
    shards = [
        {"file": f"shards/{shard.name}.tar", "clips": [asdict(clip) for clip in shard.clips]}
        | {"frames": len(shard.clips) * spec.frames}
        for shard in plan_corpus(spec)
    ]
    frames = whole_latent_frames(spec.raw_seconds, spec.fps)
    videos = [{"file": f"raw/raw-{i:04d}.mp4", "index": i, "frames": frames} for i in range(spec.raw_videos)]
    return [base | job for job in shards + videos]


def finished(folder: Path, job: Job) -> bool:
    """Say whether a job's file and its row exist; the file is renamed into place last."""
    row = row_path(folder, job)
    return (folder / job["file"]).exists() and row.exists() and json.loads(row.read_text())["hash"] == job["hash"]


def run_jobs(folder: Path, jobs: list[Job], workers: int, advance: Callable[[int], None]) -> None:
    """Run the jobs in fresh processes, `workers` at a time; on the first failure stop all and raise it."""
    running: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run_job, folder, job, advance, running) for job in jobs]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            raise


def run_job(folder: Path, job: Job, advance: Callable[[int], None], running: list[subprocess.Popen[str]]) -> None:
    """Run one job in a fresh interpreter; it prints the number of frames after every clip."""
    command = [sys.executable, "-m", "lpm.data.puppets.worker", str(folder)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=worker_environment()
        )
        running.append(process)
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        for line in process.stdout:
            advance(int(line))
        if process.wait():
            errors.seek(0)
            lines = errors.read().strip().splitlines() or ["the worker was killed"]
            raise RuntimeError(f"{job['file']} failed: {lines[-1]}")


def worker_environment() -> dict[str, str]:
    """Return this environment with one thread per worker and with the package that runs now on the path."""
    home = str(Path(lpm.__file__).parents[1])
    path = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
