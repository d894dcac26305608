"""Several processes on one machine for a test, joined by gloo through a file: no ports."""

import os
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_processes(work: Callable[..., Any], count: int, folder: Path, *arguments: Any) -> list[Any]:
    """Call ``work(*arguments)`` in ``count`` processes that form a group; return what each returned, by rank.

    ``work`` must be importable by a fresh interpreter: a function of a module in tests/, not of a test file.
    """
    mp.start_processes(_enter, args=(work, count, str(folder), arguments), nprocs=count, start_method="spawn")
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(count)]


def _enter(rank: int, work: Callable[..., Any], count: int, folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank))
    limit = timedelta(seconds=120)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=count, timeout=limit)
    try:
        torch.manual_seed(0)
        torch.save(work(*arguments), f"{folder}/result-{rank}.pt")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise
    finally:
        dist.destroy_process_group()
