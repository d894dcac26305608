"""Every module imports alone, and asking for help loads nothing heavy."""

import pkgutil
import subprocess
import sys

import lpm

MODULES = sorted(
    found.name for found in pkgutil.walk_packages(lpm.__path__, "lpm.") if not found.name.endswith("__main__")
)

# each module is imported first in a fresh copy of an interpreter that has only the heavy dependencies loaded
ALONE = """
import importlib, os, sys
import torch, lightning
for module in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(module)
        except BaseException as error:
            print(f"{module}: {type(error).__name__}: {error}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""

LIGHT = """
import sys
from lpm.cli import main
main(["--help"])
heavy = [name for name in ("torch", "lightning", "cv2", "av", "transformers", "timm") if name in sys.modules]
print("heavy:", heavy, file=sys.stderr)
sys.exit(bool(heavy))
"""

LEAN = """
import sys
sys.modules.update(cv2=None, espeakng_loader=None)
import lpm.condition, lpm.sample, lpm.train
sys.exit("timm is loaded before anyone asks for its features" if "timm" in sys.modules else 0)
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=500)


def test_every_module_imports_alone():
    assert len(MODULES) > 10
    run = python(ALONE, *MODULES)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_help_loads_nothing_heavy():
    run = python(LIGHT)
    assert run.returncode == 0, run.stderr


def test_the_installed_module_runs():
    run = subprocess.run([sys.executable, "-m", "lpm", "--version"], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, f"lpm {lpm.__version__}\n")


def test_the_worker_that_draws_needs_no_torch():
    run = python("import sys, lpm.data.puppets.worker; sys.exit('torch' in sys.modules)")
    assert run.returncode == 0, run.stderr


def test_training_and_generating_need_no_puppet_extra_and_load_no_timm():
    run = python(LEAN)
    assert run.returncode == 0, run.stderr
