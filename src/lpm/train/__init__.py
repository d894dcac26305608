"""Training for the recipes: LightningModules, data modules and callbacks."""

from lpm.train.adapter import AdaptersOff, SaveAdapter
from lpm.train.audio_data import AudioData
from lpm.train.audio_report import AudioWindowReport, compare_windows
from lpm.train.audio_windows import AudioWindowTraining
from lpm.train.average import Average, ShardedAverage
from lpm.train.base import BaseTraining
from lpm.train.callbacks import PerformanceReport, StoreSpec
from lpm.train.clips import PuppetClips
from lpm.train.codec import CodecTraining, ExportCodec
from lpm.train.data import PuppetData
from lpm.train.distribution import DistributionTraining, Pace
from lpm.train.last import SaveLast
from lpm.train.measure import Clip, Performer, Report, measure, measure_clips, performers, summarise
from lpm.train.ode import OdeTraining
from lpm.train.optimizer import MuonAdamW
from lpm.train.pair_data import PairData
from lpm.train.paired import paired_differences, paired_ratios
from lpm.train.pairs import PairSettings, make_pairs
from lpm.train.predict import BasePrediction, Requests, WriteVideos
from lpm.train.preference import FrozenCopy, PreferenceTraining, Reference
from lpm.train.preference_report import Change, PreferenceReport, compare
from lpm.train.request import Request
from lpm.train.revealed import Revealed, differences, measure_revealed, summarise_revealed
from lpm.train.seed import SeedSteps
from lpm.train.seeing import reference_performers
from lpm.train.shard import Sharded
from lpm.train.shard_data import ShardData
from lpm.train.speech import ExportSpeech, SpeechTraining
from lpm.train.stream import StreamRequest, StreamRequests, WriteStreams
from lpm.train.student import StudentAverage
from lpm.train.trajectories import TrajectorySettings, make_trajectories
from lpm.train.trajectory_data import TrajectoryData

__all__ = [
    "AdaptersOff",
    "AudioData",
    "AudioWindowReport",
    "AudioWindowTraining",
    "Average",
    "BasePrediction",
    "BaseTraining",
    "Change",
    "Clip",
    "CodecTraining",
    "DistributionTraining",
    "ExportCodec",
    "ExportSpeech",
    "FrozenCopy",
    "MuonAdamW",
    "OdeTraining",
    "Pace",
    "PairData",
    "PairSettings",
    "PerformanceReport",
    "Performer",
    "PreferenceReport",
    "PreferenceTraining",
    "PuppetClips",
    "PuppetData",
    "Reference",
    "Report",
    "Request",
    "Revealed",
    "Requests",
    "SaveAdapter",
    "SaveLast",
    "SeedSteps",
    "ShardData",
    "Sharded",
    "ShardedAverage",
    "SpeechTraining",
    "StoreSpec",
    "StreamRequest",
    "StreamRequests",
    "StudentAverage",
    "TrajectoryData",
    "TrajectorySettings",
    "WriteStreams",
    "WriteVideos",
    "compare",
    "compare_windows",
    "differences",
    "make_pairs",
    "make_trajectories",
    "measure",
    "measure_clips",
    "measure_revealed",
    "paired_differences",
    "paired_ratios",
    "performers",
    "reference_performers",
    "summarise",
    "summarise_revealed",
]
