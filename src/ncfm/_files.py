"""Files written whole or not at all, and content hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ncfm._checks import NcfmError, NcfmFailure


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and rename it over ``path``.

    A reader, or a process killed at any moment, sees the old file or the new one, never half of one.

    Raises:
        NcfmFailure: if the disk is full or the folder cannot be written; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)  # mkstemp makes files that only the owner may read
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise NcfmFailure(
            f"Could not write {path}: {error}. What was there before is unchanged; "
            "free some space, then run the command again (distill: with --resume)."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True) + "\n"
    write_atomically(path, lambda p: _write_text(p, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        NcfmError: if it is missing (NcfmFailure if it is not JSON).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NcfmError(f"Expected a file {path}, but there is none.") from error
    except (OSError, ValueError) as error:
        raise NcfmFailure(f"Could not read {path} as JSON: {error}.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as a safetensors file, atomically. Nothing is pickled."""
    flat = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_atomically(path, lambda p: save_file(flat, p, dict(metadata or {})))


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        NcfmError: if it is missing (NcfmFailure if it is damaged).
    """
    try:
        return load_file(path, device=device)
    except FileNotFoundError as error:
        raise NcfmError(f"Expected a file {path}, but there is none.") from error
    except (OSError, SafetensorError) as error:
        raise NcfmFailure(f"Could not read {path}: {error}. It may be damaged or of another format.") from error


def content_hash(*parts: Tensor | bytes | str) -> str:
    """SHA-256 of tensors, bytes and strings (32 hex digits): equal content gives an equal name on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = np.ascontiguousarray(part.detach().cpu().numpy())
            digest.update(f"{array.dtype}{tuple(part.shape)}".encode())
            digest.update(array.data)
        else:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return digest.hexdigest()[:32]


def cache_dir() -> Path:
    """Where teachers and decoded data are kept: ``NCFM_CACHE``, else ``~/.cache/ncfm``."""
    return Path(os.environ.get("NCFM_CACHE") or Path.home() / ".cache" / "ncfm")


@contextlib.contextmanager
def best_effort() -> Iterator[None]:
    """For writes that only save time later (caches): a failure to write is not a failure of the run."""
    with contextlib.suppress(NcfmError):
        yield
