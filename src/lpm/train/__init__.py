"""Training for the recipes: LightningModules, data modules and callbacks."""

from lpm.train.average import ShardedAverage
from lpm.train.base import BaseTraining
from lpm.train.callbacks import PerformanceReport, StoreSpec
from lpm.train.clips import PuppetClips
from lpm.train.codec import CodecTraining, ExportCodec
from lpm.train.data import PuppetData
from lpm.train.measure import Report, measure
from lpm.train.pair_data import PairData
from lpm.train.pairs import PairSettings, make_pairs
from lpm.train.predict import BasePrediction, Requests, WriteVideos
from lpm.train.preference import FrozenCopy, PreferenceTraining, Reference
from lpm.train.preference_report import Change, PreferenceReport, compare
from lpm.train.request import Request
from lpm.train.seed import SeedSteps
from lpm.train.shard import Sharded

__all__ = [
    "BasePrediction",
    "BaseTraining",
    "Change",
    "CodecTraining",
    "ExportCodec",
    "FrozenCopy",
    "PairData",
    "PairSettings",
    "PerformanceReport",
    "PreferenceReport",
    "PreferenceTraining",
    "PuppetClips",
    "PuppetData",
    "Reference",
    "Report",
    "Request",
    "Requests",
    "SeedSteps",
    "Sharded",
    "ShardedAverage",
    "StoreSpec",
    "WriteVideos",
    "compare",
    "make_pairs",
    "measure",
]
