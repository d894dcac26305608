"""Metrics on signals: they never see a model, only numbers per frame that some reader took from a video.

Each metric is a pure function of one clip and a thin ``torchmetrics.Metric`` that averages clips and returns an
``Estimate`` with a 95 % interval clustered by identity.
"""

from lpm.metric.drift import Drift, drift, window_medians, window_times
from lpm.metric.features import token_cosine, token_error, token_unexplained
from lpm.metric.identity import (
    IdentityDistance,
    IdentityVerification,
    identity_distance,
    identity_distances,
    identity_drift,
    verify,
)
from lpm.metric.listening import (
    ContingencyZ,
    FalseLipMotion,
    contingency,
    cue_train,
    false_lip_motion,
    reaction,
)
from lpm.metric.motion import EnergyRatio, Freeze, MeanSpeed, energy_ratio, freeze, longest_freeze, mean_speed
from lpm.metric.picture import (
    ColourDrift,
    SharpnessDrift,
    colour_difference,
    colour_drift,
    sharpness,
    sharpness_drift,
)
from lpm.metric.realtime import (
    Growth,
    Playout,
    chunk_latency,
    first_frame_time,
    growth,
    jitter,
    play_out,
    quantile_interval,
    read_events,
    real_time_factors,
    smallest_buffer,
    summarise,
)
from lpm.metric.statistics import Estimate, estimate, ratio, theil_sen, theil_sen_resampled
from lpm.metric.sync import (
    ApertureAgreement,
    AudioVisualOffset,
    ZeroLagSync,
    aperture_agreement,
    audio_visual_offset,
    lagged_correlation,
    loudness,
    zero_lag_sync,
)

__all__ = [
    "ApertureAgreement",
    "AudioVisualOffset",
    "ColourDrift",
    "ContingencyZ",
    "Drift",
    "EnergyRatio",
    "Estimate",
    "FalseLipMotion",
    "Freeze",
    "Growth",
    "IdentityDistance",
    "IdentityVerification",
    "MeanSpeed",
    "Playout",
    "SharpnessDrift",
    "ZeroLagSync",
    "aperture_agreement",
    "audio_visual_offset",
    "chunk_latency",
    "colour_difference",
    "colour_drift",
    "contingency",
    "cue_train",
    "drift",
    "energy_ratio",
    "estimate",
    "false_lip_motion",
    "first_frame_time",
    "freeze",
    "growth",
    "identity_distance",
    "identity_distances",
    "identity_drift",
    "jitter",
    "lagged_correlation",
    "longest_freeze",
    "loudness",
    "mean_speed",
    "play_out",
    "quantile_interval",
    "ratio",
    "reaction",
    "read_events",
    "real_time_factors",
    "sharpness",
    "sharpness_drift",
    "smallest_buffer",
    "summarise",
    "theil_sen",
    "theil_sen_resampled",
    "token_cosine",
    "token_error",
    "token_unexplained",
    "verify",
    "window_medians",
    "window_times",
    "zero_lag_sync",
]
