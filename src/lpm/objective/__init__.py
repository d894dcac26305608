"""What a denoiser is trained on."""

from lpm.objective.flow_matching import FlowMatching, motion_weight, sample_times

__all__ = ["FlowMatching", "motion_weight", "sample_times"]
