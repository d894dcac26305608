"""``lpm weights export`` and ``lpm weights push``: what was trained, as a folder to share, and onto the Hub."""

from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from torch import nn

from lpm.backbone import DiT, realised_spec
from lpm.backbone.diffusers_layout import Split, save_diffusers
from lpm.backbone.pretrained import count_parameters
from lpm.flow import Absolute, PredictVelocity
from lpm.hub import Card, Spec, figures, push_folder, write_card
from lpm.sample.adapter import is_adapted, merge_adapter, save_adapter
from lpm.sample.performance import PerformanceModel
from lpm.train.checkpoint import open_source
from lpm.train.codec import CodecTraining

Form = Literal["model", "backbone", "codec", "adapter", "diffusers"]


def export(
    source: Path,
    output: Path,
    form: Form | None = None,
    figures: Path | None = None,
    title: str = "",
    license: str = "apache-2.0",
    shard: str = "5GB",
    half: bool = False,
) -> None:
    """Write trained weights as a folder to share: config.json, safetensors and a card.

    Example: lpm weights export runs/base/version_0/checkpoints/last.ckpt weights/mine

    Args:
        source: a .ckpt of `lightning fit`, a weights folder, or a repository of the Hub.
        output: folder to write.
        form: model (whole), backbone (DiT alone), codec, adapter (PEFT's format) or diffusers (the text-to-video path
            as WanTransformer3DModel); adapters are merged where the form has no place for them. If not given:
            adapter for a run with one, codec for a run of recipes/codec.yaml, else model.
        figures: performance.json or preference.json of the run, for the card.
        title: heading of the card.
        license: of the weights, for the card.
        shard: largest file.
        half: store float16, half as large; loaded, they are float32 again, rounded.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not empty; name a new folder")
    card = Card(title=title, license=license, figures=read_figures(figures))
    module, spec, start = open_source(source)
    if half:
        halve(module)
    usual: Form = "codec" if isinstance(module, CodecTraining) else "model"
    if isinstance(module, PerformanceModel) and is_adapted(module.backbone):
        usual = "adapter"
    write_form(module, spec, start, form or usual, output, card, shard)
    print(f"wrote {output}")


def halve(module: nn.Module) -> None:
    """Round the parameters to float16; buffers, such as those of a spectrogram, stay exact."""
    for parameter in module.parameters():
        parameter.data = parameter.data.half()


def write_form(
    module: nn.Module, spec: Spec, start: str | None, form: Form, output: Path, card: Card, shard: str
) -> None:
    """Write one form of a model (or the codec of a codec's training) into a folder."""
    if form == "codec":
        codec: Any = module.codec
        codec.save_pretrained(output, card=card, shard=shard)
        return
    if not isinstance(module, PerformanceModel):
        raise ValueError(f"a {type(module).__name__} has no {form} to export; leave --form out, or give another source")
    if form == "adapter":
        save_adapter(module, output, start, Card(card.title, card.text, card.license, start, card.figures))
        return
    plain = merge_adapter(module) if is_adapted(module.backbone) else module
    if form == "model":
        plain.save_pretrained(output, spec, card, shard)
    elif form == "backbone":
        backbone: Any = plain.backbone
        known = backbone.spec or realised_spec(spec["init_args"]["backbone"])
        backbone.save_pretrained(output, known, card, shard)
    else:
        write_diffusers(plain, output, card, shard)


def write_diffusers(model: PerformanceModel, output: Path, card: Card, shard: str) -> None:
    """Write the text-to-video path in diffusers' layout, and say what has no place there."""
    if not isinstance(model.backbone, DiT):
        raise ValueError(f"a {type(model.backbone).__name__} is no DiT; diffusers has no place for it")
    if not isinstance(model.prediction, PredictVelocity) or not isinstance(model.coordinates, Absolute):
        how = f"{type(model.prediction).__name__} in {type(model.coordinates).__name__} coordinates"
        raise ValueError(f"the model is read as {how}; diffusers reads Wan2.1 as PredictVelocity in Absolute ones")
    split = save_diffusers(model.backbone, output, shard)
    load = "from diffusers import WanTransformer3DModel\n\n"
    load += 'network = WanTransformer3DModel.from_pretrained("owner/name", subfolder="transformer")  # or the folder'
    write_card(card, output, "diffusers.WanTransformer3DModel", "text-to-video", load, library="diffusers")
    Console().print(what_has_a_place(split))


def what_has_a_place(split: Split) -> Table:
    """Return the table of what was written and what diffusers has no place for."""
    table = Table("part", "tensors", "parameters", "in diffusers")
    rows = {"text-to-video path": split.exported, "audio paths": split.audio, "null tokens": split.nulls}
    for name, tensors in rows.items():
        place = "transformer/" if tensors is split.exported else "no place: left out"
        table.add_row(name, str(len(tensors)), f"{count_parameters(tensors):,}", place)
    table.add_row("reference pictures as tokens", "0", "0", "no place: its forward takes one video")
    table.add_row("noise level per latent frame", "0", "0", "one level for the clip")
    return table


def push(folder: Path, repository: str, private: bool = False, message: str = "Add model") -> None:
    """Upload an exported folder into a repository of the Hugging Face Hub.

    Example: lpm weights push weights/mine me/my-puppet --private

    Args:
        folder: written by `lpm weights export`; read and finish its card, README.md, first.
        repository: owner/name; made if it does not exist.
        private: make a new repository private; else the owner's setting holds.
        message: of the commit.
    """
    print(push_folder(folder, repository, private or None, message))


def read_figures(path: Path | None) -> tuple[tuple[str, str], ...]:
    """Return the figures of a run for a card; none without a file."""
    return figures(path) if path else ()
