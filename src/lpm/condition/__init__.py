"""What steers the character: its voice, the partner's voice, a prompt, and pictures of who it is."""

from lpm.condition.features import ImageFeatures
from lpm.condition.identity import check_references, encode_references
from lpm.condition.mix import ConditionDropout
from lpm.condition.pretrained_audio import AudioWindow, PretrainedAudio
from lpm.condition.pretrained_text import PretrainedText
from lpm.condition.speech import LogMelEncoder, audio_features
from lpm.condition.text import ByteText

__all__ = [
    "AudioWindow",
    "ByteText",
    "ConditionDropout",
    "ImageFeatures",
    "LogMelEncoder",
    "PretrainedAudio",
    "PretrainedText",
    "audio_features",
    "check_references",
    "encode_references",
]
