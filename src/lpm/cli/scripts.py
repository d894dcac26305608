"""Who owns the word ``lightning``: several packages install a script of that name, and the last install wins."""

import shutil
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path

# litserve's `lightning` pip-installs lightning-sdk when that is absent: never start it unasked
_INSTALLS_OTHERS = {"litserve": "lightning-sdk"}


def other_lightning() -> EntryPoint | None:
    """Return another distribution's ``lightning`` command, or None where nobody else has one."""
    for point in entry_points(group="console_scripts", name="lightning"):
        owner = point.dist.name.lower() if point.dist else ""
        if owner == "lpm" or point.value.startswith("lpm."):
            continue
        needs = _INSTALLS_OTHERS.get(owner)
        if needs is None or _installed(needs):
            return point
    return None


def lightning_on_path() -> tuple[Path | None, bool]:
    """Return the ``lightning`` that a shell would start, and whether it is ours."""
    found = shutil.which("lightning")
    if found is None:
        return None, False
    try:
        return Path(found), "lpm.cli" in Path(found).read_text(errors="replace")
    except OSError:
        return Path(found), False


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
