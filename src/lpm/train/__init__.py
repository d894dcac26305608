"""Training for the recipes: LightningModules, data modules and callbacks."""

from lpm.train.base import BaseTraining
from lpm.train.callbacks import PerformanceReport, StoreSpec
from lpm.train.clips import PuppetClips
from lpm.train.codec import CodecTraining, ExportCodec
from lpm.train.data import PuppetData
from lpm.train.measure import Report, measure

__all__ = [
    "BaseTraining",
    "CodecTraining",
    "ExportCodec",
    "PerformanceReport",
    "PuppetClips",
    "PuppetData",
    "Report",
    "StoreSpec",
    "measure",
]
