"""Publish a dataset folder to the Hugging Face Hub. Private unless told otherwise; no token is shown.

Uploads go through ``huggingface_hub``: files that the Hub holds already are not sent again, so a broken upload
goes on where it stopped when it is run again. Files of the repository that the folder no longer has are
deleted in the same commit, so that an update leaves no stale shard. The token is the client's own business.
"""

from pathlib import Path

from datagen.checksums import CHECKSUMS, verify
from datagen.croissant import CROISSANT
from datagen.errors import InputError, WorkError

DESCRIPTIONS = ("README.md", CROISSANT, CHECKSUMS)
DATA = "data/*.parquet"
CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2")  # whose errors are the network's


def publish(
    folder: Path, repo: str, private: bool = True, dry_run: bool = False, endpoint: str | None = None
) -> list[str]:
    """Upload ``folder`` to the dataset ``repo``; returns lines for a person.

    ``private`` counts when the repository is new. ``endpoint`` None is ``HF_ENDPOINT`` or the Hub itself. Raises
    ``InputError`` for a bad name or folder or no token, ``WorkError`` when the data fail their checksums or the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"{repo!r}: a Hub dataset is named USER/NAME") from error
    if repo.count("/") != 1:
        raise InputError(f"{repo!r}: a Hub dataset is named USER/NAME")
    rows = verify(folder)
    if not (folder / "README.md").is_file():
        raise WorkError(f"{folder / 'README.md'}: the card is missing; make the dataset again")
    lines = [
        f"{name}  {(folder / name).stat().st_size / 1e6:.2f} MB{f', {rows[name]} rows' if name in rows else ''}"
        for name in [*DESCRIPTIONS, *rows]
    ]
    if dry_run:
        return [f"would upload to {repo} ({'private' if private else 'public'} if new):", *lines]
    api = HfApi(endpoint=endpoint)
    try:
        new = not api.repo_exists(repo, repo_type="dataset")
        if new:
            api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            repo_type="dataset",
            allow_patterns=[*DESCRIPTIONS, DATA],
            delete_patterns=[DATA],
            commit_message="Upload by datagen publish",
        )
    except LocalTokenNotFoundError as error:
        raise InputError("no Hub token; run `hf auth login` or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 401:
            raise InputError("the Hub refuses the token; run `hf auth login` or set HF_TOKEN") from error
        if status == 403:
            raise InputError(f"{repo}: you may not write there; publish under your own name") from error
        raise WorkError(f"the Hub did not take {repo}: {str(error).splitlines()[0]}") from error
    except Exception as error:  # httpx's and the disk's come as they are, a failed upload as a RuntimeError
        lost = isinstance(error, OSError | RuntimeError)
        if not lost and type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WorkError(
            f"the upload to {repo} broke off: {why}; run it again, it goes on where it stopped"
        ) from error
    state = "updated" if not new else "new, private" if private else "new, public"
    return [f"uploaded to {repo} ({state}): {commit.commit_url}", *lines]
