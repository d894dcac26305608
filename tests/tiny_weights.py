"""Tiny random weights of other programs, in the formats in which their large ones come."""

from pathlib import Path

import torch

AUDIO = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
AUDIO |= {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
HEADS, HEAD_WIDTH, LETTERS = 2, 16, "abcdefghijklmnopqrstuvwxyz"


def wan_transformer(**settings):
    """A Wan2.1 transformer of diffusers."""
    import diffusers

    torch.manual_seed(0)
    sizes = {"in_channels": 4, "out_channels": 4, "text_dim": 24, "ffn_dim": 40, "freq_dim": 32, "num_layers": 2}
    heads = {"num_attention_heads": HEADS, "attention_head_dim": HEAD_WIDTH}
    return diffusers.WanTransformer3DModel(**heads, **sizes | settings).eval()


def original_wan(tensors):
    """Rename diffusers' keys of a Wan2.1 transformer to the original layout: diffusers' own table, read backwards."""
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    theirs = convert_wan_transformer_to_diffusers({name: name for name in original_wan_names(depth)})
    return {theirs[name]: tensor for name, tensor in tensors.items()}


def original_wan_names(depth):
    """The keys of Wan2.1's release, those of its image-to-video models among them."""
    both = lambda names: [f"{name}.{end}" for name in names for end in ("weight", "bias")]  # noqa: E731
    outer = ["patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2"]
    image = [f"img_emb.proj.{layer}" for layer in (0, 1, 3, 4)]
    names = [*both([*outer, *image, "time_projection.1", "head.head"]), "head.modulation"]
    for i in range(depth):
        parts = [f"{a}.{b}" for a in ("self_attn", "cross_attn") for b in "qkvo"] + ["norm3", "ffn.0", "ffn.2"]
        parts += ["cross_attn.k_img", "cross_attn.v_img"]
        norms = [f"{a}.norm_{b}.weight" for a in ("self_attn", "cross_attn") for b in "qk"]
        norms += ["cross_attn.norm_k_img.weight"]
        names += [f"blocks.{i}.{name}" for name in (*both(parts), *norms, "modulation")]
    return names


def original_umt5(tensors):
    """Rename transformers' keys of a umT5 encoder to those of Wan2.1's release."""
    words = {
        "shared": "token_embedding", "encoder.final_layer_norm": "norm", "encoder.block": "blocks",
        "layer.0.layer_norm": "norm1", "layer.1.layer_norm": "norm2", "layer.0.SelfAttention": "attn",
        "attn.relative_attention_bias": "pos_embedding.embedding", "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
        "layer.1.DenseReluDense.wi_1": "ffn.fc1", "layer.1.DenseReluDense.wo": "ffn.fc2",
    }  # fmt: skip
    renamed = {}
    for name, tensor in tensors.items():
        for theirs, release in words.items():
            name = name.replace(theirs, release)
        renamed[name] = tensor
    return {name: tensor for name, tensor in renamed.items() if name != "encoder.embed_tokens.weight"}


def wan_autoencoder():
    """Wan2.1's autoencoder of diffusers, with biases and gains that are not 0 and 1."""
    import diffusers

    torch.manual_seed(0)
    model = diffusers.AutoencoderKLWan(base_dim=8).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def save_audio(kind, folder):
    """Write and return an audio encoder: wav2vec2, hubert, wavlm (each also as -large) or whisper."""
    import transformers

    torch.manual_seed(0)
    if kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=24, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
            decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=50, num_mel_bins=16, max_source_positions=200,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )  # fmt: skip
        model = transformers.WhisperModel(config)
    else:
        config_class, model_class = {
            "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
            "hubert": (transformers.HubertConfig, transformers.HubertModel),
            "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
        }[kind.partition("-")[0]]
        norm = "layer" if kind.endswith("-large") else "group"
        model = model_class(config_class(**AUDIO, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer"))
    model.eval().save_pretrained(folder)
    return model.eval()


def save_encoders():
    """Write the codec and the encoders that overlays 1b, 14b and 17b name into the working folder."""
    Path("weights").mkdir()
    torch.save(wan_autoencoder().state_dict(), "weights/Wan2.1_VAE.pth")
    save_text("umt5", "weights/umt5-xxl")
    save_audio("wav2vec2-large", "weights/wav2vec2-large")


def save_text(kind, folder, words=None):
    """Write and return a T5 encoder, umt5 or t5, and its tokenizer (into ``words`` if given)."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    model_class, config_class = {
        "umt5": (transformers.UMT5EncoderModel, transformers.UMT5Config),
        "t5": (transformers.T5EncoderModel, transformers.T5Config),
    }[kind]
    torch.manual_seed(0)
    config = config_class(
        d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=64, feed_forward_proj="gated-gelu"
    )
    model = model_class(config).eval()
    model.save_pretrained(folder)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(letter, -3.0) for letter in LETTERS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")
    fast.save_pretrained(words or folder)
    return model, fast
