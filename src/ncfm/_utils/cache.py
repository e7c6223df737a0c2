"""The content cache: results that take long to compute, in files named by a hash of everything that determines them.

A teacher, a trajectory, a selection, a student and a decoded data set are each an entry below `cache_dir()`. An entry
is written atomically and never changed: another input gives another key. The cache only saves time, so a disk that
cannot be written stops no run, and an entry that cannot be read is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import best_effort, cache_dir, read_json, read_tensors, write_json, write_tensors

Found = TypeVar("Found")

# What parsing raises for a damaged file, or for one with another content than expected.
UNREADABLE = (NcfmError, OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError)


@dataclass(frozen=True)
class CacheEntry:
    """The files of one key: facts as ``KEY.json``, tensors as ``KEY.safetensors``, or a folder ``KEY``."""

    kind: str  # the folder below `cache_dir()`, such as "teachers"
    key: str  # see `ncfm._utils.files.content_hash`
    place: Path | None = None  # a folder in place of the one that ``kind`` names

    @property
    def folder(self) -> Path:
        """The folder of all entries of this kind."""
        return cache_dir() / self.kind if self.place is None else self.place

    @property
    def path(self) -> Path:
        """The entry itself, where it is a folder."""
        return self.folder / self.key

    @property
    def checkpoint_path(self) -> Path:
        """The checkpoint of an interrupted training whose result this entry is to hold."""
        return self.folder / f"unfinished-{self.key}.safetensors"

    def facts(self) -> Any:
        """The facts.

        Raises:
            NcfmError: if there are none, or they are not JSON.
        """
        return read_json(self.folder / f"{self.key}.json")

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name; they map the file.

        Raises:
            NcfmError: if there are none, or the file is damaged.
        """
        return read_tensors(self.folder / f"{self.key}.safetensors")

    def read(self, parse: Callable[[CacheEntry], Found | None]) -> Found | None:
        """What ``parse`` returns for this entry; None if the entry is missing, unreadable or of another form.

        Args:
            parse: builds the result from `facts`, `tensors` or `path`; returns None or raises where they do not fit.
        """
        try:
            return parse(self)
        except UNREADABLE:
            return None

    def write(
        self,
        tensors: Mapping[str, Tensor] | None = None,
        facts: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write the entry, each file atomically; a disk that cannot be written is not a failure.

        Args:
            tensors: by name.
            facts: what JSON can hold. They are written first: an entry with tensors is complete.
            metadata: strings in the header of the tensors' file.
        """
        with best_effort():
            if facts is not None:
                write_json(self.folder / f"{self.key}.json", facts)
            if tensors is not None:
                write_tensors(self.folder / f"{self.key}.safetensors", tensors, metadata)
