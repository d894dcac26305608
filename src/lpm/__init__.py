"""Train, distil and stream characters that speak and listen.

Importing ``lpm`` loads nothing heavy; import the part you need, for example ``from lpm.backbone import DiT``.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lpm")
except PackageNotFoundError:  # a source tree on PYTHONPATH, not installed
    __version__ = "0+source"

__all__ = ["__version__"]
