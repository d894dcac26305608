"""What a denoiser is trained on."""

from lpm.objective.flow_dpo import FlowDPO
from lpm.objective.flow_matching import Draw, FlowMatching, motion_weight, sample_times

__all__ = ["Draw", "FlowDPO", "FlowMatching", "motion_weight", "sample_times"]
