"""The Hugging Face Hub, through huggingface_hub: a repository's folder here, a folder into a repository."""

from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from lpm.hub.folder import CONFIG

FILES = ["*.json", "*.safetensors", "*.md"]  # never pickles
SHARED = (CONFIG, "adapter_config.json", "transformer/config.json")


def is_repository(name: str) -> bool:
    """Tell whether a name could be a repository's: ``owner/name``.

    >>> is_repository("lpm/puppet"), is_repository("./puppet"), is_repository("runs/base/last.ckpt")
    (True, False, False)
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def fetch(source: Path | str, revision: str | None = None) -> Path:
    """Return the folder of a shared model: ``source`` itself, or a local copy of the repository of that name.

    Args:
        source: a folder, or a repository ``owner/name`` of the Hub; what is cached is not fetched again.
        revision: branch, tag or commit of a repository.

    Raises:
        ValueError: neither, or the repository cannot be had.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if not is_repository(name):
        raise ValueError(f"{name} is no folder; give one written by `lpm weights export`, or a repository owner/name")
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=FILES))
    except Exception as error:  # the client's errors have no common parent
        raise ValueError(f"{name} is no folder here, and the Hub does not give it ({reason(error)})") from error


def push_folder(folder: Path | str, repository: str, private: bool | None = None, message: str = "Add model") -> str:
    """Upload a folder into a repository of the Hub, made if it does not exist; return the commit's address.

    Args:
        folder: a model, adapter or diffusers folder with its card, ``README.md``.
        repository: ``owner/name``.
        private: whether a new repository is; None leaves it to the owner's setting.
        message: of the commit.

    Raises:
        ValueError: nothing to share there, a bad name, or the Hub refuses.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in SHARED):
        raise ValueError(f"{folder} holds none of {', '.join(SHARED)}; write it with `lpm weights export` first")
    if not (folder / "README.md").is_file():
        raise ValueError(f"{folder} holds no README.md; a shared model needs a card: export it again, or write one")
    if not is_repository(repository):
        raise ValueError(f"{repository!r} is no repository; write owner/name, such as me/my-puppet")
    api = huggingface_hub.HfApi()
    try:
        name = api.create_repo(repository, private=private, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message=message))
    except Exception as error:  # the client's errors have no common parent
        raise ValueError(
            f"the Hub did not take {repository} ({reason(error)}); log in with `hf auth login` and check the name"
        ) from error


def reason(error: Exception) -> str:
    """Return the first line of an error, with its kind."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
