"""What steers the character: its voice, the partner's voice, a prompt, and pictures of who it is."""

from lpm.condition.features import ImageFeatures
from lpm.condition.identity import check_references, encode_references
from lpm.condition.mix import ConditionDropout
from lpm.condition.pretrained_audio import PretrainedAudio
from lpm.condition.pretrained_text import PretrainedText
from lpm.condition.saved_audio import log_mel, puppet_speech, save_audio
from lpm.condition.speech import LogMelEncoder, audio_features
from lpm.condition.text import ByteText
from lpm.condition.untrained_audio import small_hubert, small_wav2vec2, small_wavlm, small_whisper, untrained_audio
from lpm.condition.windows import AudioWindow, Windows

__all__ = [
    "AudioWindow",
    "ByteText",
    "ConditionDropout",
    "ImageFeatures",
    "LogMelEncoder",
    "PretrainedAudio",
    "PretrainedText",
    "Windows",
    "audio_features",
    "check_references",
    "encode_references",
    "log_mel",
    "puppet_speech",
    "save_audio",
    "small_hubert",
    "small_wav2vec2",
    "small_wavlm",
    "small_whisper",
    "untrained_audio",
]
