"""Upload of a set to the Hugging Face hub: only on request, with the user's own token."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Protocol

from ncfm._utils.checks import InputError, RunError
from ncfm.formats.writing import export
from ncfm.synthetic.synthetic_set import SyntheticSet


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


def push_to_hub(
    synthetic: SyntheticSet | str | Path, repository: str, *, private: bool = True, stored: bool = False
) -> str:
    """Upload a set to the Hugging Face hub, from where ``ncfm.load("hf:owner/name")`` reads it.

    The repository has the set as `ncfm.save` writes it, the decoded images as a table that the ``datasets`` library and
    the hub's viewer read, and a card. `ncfm export SET --to hf --out FOLDER` writes the same folder, to look at first.

    Args:
        synthetic: the set, its folder, or its run folder.
        repository: ``owner/name``; its files of the same names are replaced.
        private: whether a new repository is private.
        stored: have the stored mosaics in the table, in place of decoded images.

    Returns:
        The address of the repository.

    Raises:
        NcfmError: for another form of name, or without a token (``HF_TOKEN`` or ``hf auth login``).
        RunError: if the hub rejects it.

    >>> push_to_hub("runs/cifar10-ipc10", "owner/cifar10-distilled")  # doctest: +SKIP
    """
    check_repository(repository)
    api = hub_api()
    with tempfile.TemporaryDirectory(prefix="ncfm-hub-") as place:
        done = export(synthetic, Path(place) / "hf", to="hf", stored=stored, repository=repository)
        return push(done.path, repository, api, private=private)


def push(folder: Path, repository: str, api: HubApi, *, private: bool = True) -> str:
    """Upload a folder that `write_hf` filled; a new repository is private by default. Returns its address.

    Raises:
        RunError: if the hub rejects it.
    """
    check_repository(repository)
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            repo_type="dataset",
            commit_message="Dataset distilled by ncfm",
        )
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise RunError(f"The hub rejected {repository}: {error}. The export itself is in {folder}.") from error
    return f"https://huggingface.co/datasets/{repository}"
