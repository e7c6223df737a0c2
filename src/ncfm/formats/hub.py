"""Upload of an exported folder to the Hugging Face hub: only on request, with the user's own token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

from ncfm._utils.checks import InputError, RunError


class HubApi(Protocol):
    """The methods of ``huggingface_hub.HfApi`` that are used."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Create a repository if it does not exist."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: str, repo_type: str, commit_message: str) -> Any:
        """Commit all files of a folder."""
        ...


def check_repository(repository: str) -> str:
    """Return ``repository`` if it is a valid name on the hub.

    Raises:
        NcfmError: unless it is ``owner/name``.
    """
    if not re.fullmatch(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", repository, re.ASCII):
        raise InputError(f"Expected owner/name for the hub, got {repository!r}.")
    return repository


def hub_api() -> HubApi:
    """The hub with the token of this machine's user.

    Raises:
        NcfmError: if there is no token.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise InputError("The hub requires a token with write access: set HF_TOKEN, or run `hf auth login`.")
    api: HubApi = HfApi()
    return api


def push(folder: Path, repository: str, api: HubApi) -> str:
    """Upload a folder that `write_hf` filled; a new repository is private. Returns its address.

    Raises:
        RunError: if the hub rejects it.
    """
    check_repository(repository)
    try:
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            repo_type="dataset",
            commit_message="Dataset distilled by ncfm",
        )
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise RunError(f"The hub rejected {repository}: {error}. The export itself is in {folder}.") from error
    return f"https://huggingface.co/datasets/{repository}"
