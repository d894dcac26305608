"""``lpm doctor``: what is installed, what works, which ``lightning`` a shell would start."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from lpm.cli.scripts import lightning_on_path, other_lightning
from lpm.cli.table import EXTRAS

PACKAGES = ("torch", "lightning", "torchmetrics", "jsonargparse", "webdataset", "av", "timm", "torchvision")
MALICIOUS_LIGHTNING = ("2.6.2", "2.6.3")


def doctor(json: bool = False, plan: list[str] | None = None, gpus: str = "1x80", size: str | None = None) -> int:
    """Report versions, devices, attention back ends, optional parts, and which ``lightning`` comes first on the path.

    With --plan, say instead what a recipe will take of each GPU, whether it fits, and what to change if not; nothing
    is downloaded or run.

    Args:
        json: print one JSON object instead of a table.
        plan: recipe, and the overlays that lie over it.
        gpus: how many GPUs of how many GB, such as 8x80.
        size: height and width of the video in pixels, such as 480x832; those of the puppet corpus if not given.

    Returns:
        0, or 1 where something that is needed does not work, or a plan does not fit.

    Example:
        lpm doctor
        lpm doctor --json
        lpm doctor --plan recipes/base.yaml recipes/overlay/17b.yaml recipes/overlay/fsdp.yaml --gpus 8x80
    """
    if plan:
        from lpm.cli.plan import report_plan

        return report_plan(plan, gpus, size, json)
    rows = [row for part in (_python, _packages, _devices, _attention, _scripts, _espeak) for row in part()]
    _print_json(rows) if json else _print_table(rows)
    return int(any(state == "bad" for _, state, _ in rows))


Row = tuple[str, str, str]  # what, one of ok | none | bad, detail


def _python() -> Iterator[Row]:
    from lpm import __version__

    yield "lpm", "ok", __version__
    yield "python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})"


def _packages() -> Iterator[Row]:
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield name, "bad", "missing; reinstall with: pip install --force-reinstall lpm"
            continue
        if name == "lightning" and found in MALICIOUS_LIGHTNING:
            yield (
                name,
                "bad",
                f"{found} was a malicious release; pip install 'lightning>=2.6.4' and change your passwords",
            )
        else:
            yield name, "ok", found
    for module, extra in EXTRAS.items():
        there = find_spec(module) is not None
        yield module, "ok" if there else "none", "installed" if there else f'pip install "lpm[{extra}]"'


def _devices() -> Iterator[Row]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield "devices", "bad", f"torch does not load: {error}"
        return
    yield "cpu", "ok", f"{torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", "ok", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if not torch.cuda.is_available():
        yield "cuda", "none", "no device"
    yield "mps", "ok" if torch.backends.mps.is_available() else "none", ""


def _attention() -> Iterator[Row]:
    yield "attention sdpa", "ok", "part of torch"
    yield "attention flex", "ok", "part of torch; trains on GPUs only"
    for name, extra in {"flash_attn": "flash", "flash_attn.cute": "flash4"}.items():
        there = find_spec("flash_attn") is not None and find_spec(name) is not None
        yield f"attention {extra}", "ok" if there else "none", "" if there else f'pip install "lpm[{extra}]"'


def _scripts() -> Iterator[Row]:
    path, ours = lightning_on_path()
    other = other_lightning()
    if path is None:
        yield "lightning", "none", "not on the path; use: lpm fit"
    elif ours:
        yield "lightning", "ok", f"{path} (ours)"
    else:
        yield "lightning", "none", f"{path} belongs to another package; use: lpm fit, or reinstall lpm"
    if other is not None and other.dist is not None:
        yield "other lightning", "ok", f"{other.dist.name}; gets every word but fit, validate, test, predict"


def _espeak() -> Iterator[Row]:
    if find_spec("espeakng_loader") is None:
        yield "espeak-ng", "none", 'needed to build puppets: pip install "lpm[puppets]"'
        return
    import ctypes

    import espeakng_loader

    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        library.espeak_Info.restype = ctypes.c_char_p
        yield "espeak-ng", "ok", library.espeak_Info(None).decode()
    except OSError as error:
        yield "espeak-ng", "bad", f"does not load: {error}"


def _print_table(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    marks = {"ok": "[green]ok[/green]", "none": "[yellow]-[/yellow]", "bad": "[red]BAD[/red]"}
    for what, state, detail in rows:
        table.add_row(what, marks[state], detail.replace("[", r"\["))
    Console(file=sys.stdout, soft_wrap=True).print(table)


def _print_json(rows: list[Row]) -> None:
    from json import dumps

    print(dumps({what: {"state": state, "detail": detail} for what, state, detail in rows}, indent=2))
