"""Sharing: a model as a folder with a card, there and back, on this machine or on the Hugging Face Hub."""

from lpm.hub.card import Card, figures, named_files, write_card
from lpm.hub.folder import Spec, read_spec, read_tensors, write_folder
from lpm.hub.remote import fetch, is_repository, push_folder
from lpm.hub.share import (
    Shareable,
    check_fit,
    from_pretrained,
    load_fitting,
    push_to_hub,
    save_pretrained,
    share_all,
)

__all__ = [
    "Card",
    "Shareable",
    "Spec",
    "check_fit",
    "fetch",
    "figures",
    "from_pretrained",
    "is_repository",
    "load_fitting",
    "named_files",
    "push_folder",
    "push_to_hub",
    "read_spec",
    "read_tensors",
    "save_pretrained",
    "share_all",
    "write_card",
    "write_folder",
]
