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
from lpm.metric.motion import EnergyRatio, Freeze, energy_ratio, freeze, longest_freeze
from lpm.metric.picture import (
    ColourDrift,
    SharpnessDrift,
    colour_difference,
    colour_drift,
    sharpness,
    sharpness_drift,
)
from lpm.metric.statistics import Estimate, estimate, theil_sen, theil_sen_resampled
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
    "IdentityDistance",
    "IdentityVerification",
    "SharpnessDrift",
    "ZeroLagSync",
    "aperture_agreement",
    "audio_visual_offset",
    "colour_difference",
    "colour_drift",
    "contingency",
    "cue_train",
    "drift",
    "energy_ratio",
    "estimate",
    "false_lip_motion",
    "freeze",
    "identity_distance",
    "identity_distances",
    "identity_drift",
    "lagged_correlation",
    "longest_freeze",
    "loudness",
    "reaction",
    "sharpness",
    "sharpness_drift",
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
