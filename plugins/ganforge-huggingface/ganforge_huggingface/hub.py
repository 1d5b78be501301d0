"""Generators to the hub and from it."""

from __future__ import annotations

from pathlib import Path

import ganforge
from ganforge import GanforgeError, Generator, OptionError
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from ganforge_huggingface.exporter import CARD, DESCRIPTION, SAMPLES, WEIGHTS


def push(folder: str | Path, repo: str, *, private: bool = False) -> str:
    """Upload a folder that the exporter wrote; the repository is made if there is none.

    Args:
        folder: With the model card as you want it.
        repo: ``user/name``.
        private: Make the repository a private one; one that is there already stays as it is.

    Returns:
        Address of the commit.

    Raises:
        OptionError: The folder is none that the exporter wrote.
        GanforgeError: The hub refuses, or cannot be reached.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise OptionError(
                f"{folder} holds no {name}", "give a folder written by `ganforge export --format huggingface`"
            )
    ganforge.load(folder)  # what nobody could load is not published
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[WEIGHTS, CARD, SAMPLES, DESCRIPTION],
            commit_message="Upload a generator of ganforge",
        )
    except Exception as error:  # whatever the network and the hub raise
        raise _refused(repo, "uploaded", error) from error
    return str(done.commit_url)


def pull(repo: str, folder: str | Path, *, revision: str | None = None) -> Path:
    """Download a generator with its card and picture.

    Args:
        repo: ``user/name``.
        folder: Where to.
        revision: Commit, tag or branch; None for the newest.

    Returns:
        The file of the weights, which were loaded once to see that they can be.

    Raises:
        CheckpointError: There is no generator in it, or a damaged one.
        OptionError: Its architecture is in no plugin that is installed.
        GanforgeError: There is no such repository, or the hub cannot be reached.
    """
    try:
        snapshot_download(
            repo, revision=revision, local_dir=folder, allow_patterns=[WEIGHTS, CARD, SAMPLES, DESCRIPTION]
        )
    except Exception as error:  # whatever the network and the hub raise
        raise _refused(repo, "downloaded", error) from error
    ganforge.load(folder)
    return Path(folder) / WEIGHTS


def from_pretrained(repo: str, *, revision: str | None = None) -> Generator:
    """A generator of the hub, on the CPU in evaluation mode; downloaded once, into the hub's own cache.

    Only code that is installed here is run: the file holds numbers, and the name of a network.

    Args:
        repo: ``user/name``.
        revision: Commit, tag or branch; None for the newest.

    Raises:
        CheckpointError: The file is damaged.
        OptionError: Its architecture is in no plugin that is installed.
        GanforgeError: There is no such file, or the hub cannot be reached.
    """
    try:
        path = hf_hub_download(repo, WEIGHTS, revision=revision)
    except Exception as error:  # whatever the network and the hub raise
        raise _refused(repo, "downloaded", error) from error
    return ganforge.load(path)


def _refused(repo: str, done: str, error: Exception) -> GanforgeError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return GanforgeError(
        f"{repo} cannot be {done}: {reason}", "look at the name; to sign in: `hf auth login`; or try again later"
    )
