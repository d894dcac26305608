"""Training for the recipes: LightningModules, data modules and callbacks."""

from lpm.train.base import BaseTraining
from lpm.train.callbacks import PerformanceReport, StoreSpec
from lpm.train.clips import PuppetClips
from lpm.train.codec import CodecTraining, ExportCodec
from lpm.train.data import PuppetData
from lpm.train.measure import Report, measure
from lpm.train.predict import BasePrediction, Requests, WriteVideos
from lpm.train.request import Request

__all__ = [
    "BasePrediction",
    "BaseTraining",
    "CodecTraining",
    "ExportCodec",
    "PerformanceReport",
    "PuppetClips",
    "PuppetData",
    "Report",
    "Request",
    "Requests",
    "StoreSpec",
    "WriteVideos",
    "measure",
]
