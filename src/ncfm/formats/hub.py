"""Sending an exported folder to the Hugging Face hub: only ever on request, and under the user's own token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

from ncfm._utils.checks import NcfmError, NcfmFailure


class HubApi(Protocol):
    """What is needed of ``huggingface_hub.HfApi``."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Make a repository, or leave the one that is there."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: str, repo_type: str, commit_message: str) -> Any:
        """Commit all files of a folder."""
        ...


def check_repository(repository: str) -> str:
    """Return ``repository`` if it is a name the hub takes.

    Raises:
        NcfmError: unless it is ``owner/name``.
    """
    if not re.fullmatch(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", repository, re.ASCII):
        raise NcfmError(f"Expected owner/name for the hub, got {repository!r}.")
    return repository


def hub_api() -> HubApi:
    """The hub under the token of this machine's user.

    Raises:
        NcfmError: if there is none.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise NcfmError("The hub asks for a token: set HF_TOKEN, or run `hf auth login`; it needs the right to write.")
    api: HubApi = HfApi()
    return api


def push(folder: Path, repository: str, api: HubApi) -> str:
    """Send a folder that `write_hf` filled; a repository that does not exist is made, private. Returns its address.

    Raises:
        NcfmFailure: if the hub does not take it.
    """
    check_repository(repository)
    try:
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            repo_type="dataset",
            commit_message="Data set distilled by ncfm",
        )
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise NcfmFailure(f"The hub did not take {repository}: {error}. The export itself is in {folder}.") from error
    return f"https://huggingface.co/datasets/{repository}"
