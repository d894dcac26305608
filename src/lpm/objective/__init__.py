"""What a denoiser is trained on, and what an audio encoder."""

from lpm.objective.feature_distance import FeatureDistance
from lpm.objective.flow_dpo import FlowDPO
from lpm.objective.flow_matching import Draw, FlowMatching, motion_weight, sample_times

__all__ = ["Draw", "FeatureDistance", "FlowDPO", "FlowMatching", "motion_weight", "sample_times"]
