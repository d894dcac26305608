"""YAML spec -> object, without a Trainer: what ``lightning fit`` builds, any program can build."""

from lpm.build.explain import closest, explain
from lpm.build.spec import build, build_file, locate

__all__ = ["build", "build_file", "closest", "explain", "locate"]
