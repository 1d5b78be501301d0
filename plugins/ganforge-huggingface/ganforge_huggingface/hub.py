"""Push generators to the hub and pull them."""

from __future__ import annotations

from pathlib import Path

import ganforge
from ganforge import GanforgeError, Generator, OptionError
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from ganforge_huggingface.exporter import CARD, LAYOUT, WEIGHTS


def push(folder: str | Path, repo: str, *, private: bool = False) -> str:
    """Upload a folder of the exporter, and create the repository if it does not exist.

    Args:
        folder: Folder of the exporter.
        repo: ``user/name``.
        private: Whether a new repository is private; an existing one is unchanged.

    Returns:
        URL of the commit.

    Raises:
        OptionError: The folder lacks a file of the exporter.
        GanforgeError: The hub refuses, or is unreachable.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise OptionError(
                f"{folder} holds no {name}", "give a folder written by `ganforge export --format huggingface`"
            )
    ganforge.load(folder)  # raises if the weights are invalid
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=LAYOUT,
            commit_message="Upload a generator of ganforge",
        )
    except Exception as error:  # of the network and the hub
        raise _refused(repo, "uploaded", error) from error
    return str(done.commit_url)


def pull(repo: str, folder: str | Path, *, revision: str | None = None) -> Path:
    """Download a generator with its model card and samples.

    Args:
        repo: ``user/name``.
        folder: Target folder.
        revision: Commit, tag or branch; None for the newest.

    Returns:
        Path of the weights, which were loaded once as a check.

    Raises:
        CheckpointError: No generator, or a damaged one.
        OptionError: No installed plugin has the architecture.
        GanforgeError: The repository is not found, or the hub is unreachable.
    """
    try:
        snapshot_download(repo, revision=revision, local_dir=folder, allow_patterns=LAYOUT)
    except Exception as error:  # of the network and the hub
        raise _refused(repo, "downloaded", error) from error
    ganforge.load(folder)
    return Path(folder) / WEIGHTS


def from_pretrained(repo: str, *, revision: str | None = None) -> Generator:
    """Load a generator of the hub on the CPU in evaluation mode; download it once, into the hub's cache.

    Only installed code is run: the file holds numbers and the name of a network.

    Args:
        repo: ``user/name``.
        revision: Commit, tag or branch; None for the newest.

    Raises:
        CheckpointError: The file is damaged.
        OptionError: No installed plugin has the architecture.
        GanforgeError: The file is not found, or the hub is unreachable.
    """
    try:
        path = hf_hub_download(repo, WEIGHTS, revision=revision)
    except Exception as error:  # of the network and the hub
        raise _refused(repo, "downloaded", error) from error
    return ganforge.load(path)


def _refused(repo: str, done: str, error: Exception) -> GanforgeError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return GanforgeError(
        f"{repo} cannot be {done}: {reason}", "check the name, sign in by `hf auth login`, or try again later"
    )
