"""Publish a dataset folder to the Hugging Face Hub. Private unless told otherwise; no token is shown."""

from pathlib import Path

from datagen.errors import InputError, WorkError


def publish(folder: Path, repo: str, private: bool = True, dry_run: bool = False) -> list[str]:
    """Upload ``folder`` to the dataset ``repo``; returns lines for a person.

    Raises ``InputError`` for a bad name or folder, ``WorkError`` when the Hub refuses.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise InputError(f"{repo!r}: a Hub dataset is named USER/NAME")
    if not (folder / "README.md").is_file() or not list(folder.glob("data/*.parquet")):
        raise InputError(f"{folder}: no dataset here; run datagen build first")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts)
    lines = [f"{p.relative_to(folder)}  {p.stat().st_size / 1e6:.2f} MB" for p in files]
    where = f"{repo} ({'private' if private else 'public'} if new)"
    if dry_run:
        return [f"would upload to {where}:", *lines]
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=folder, repo_type="dataset", ignore_patterns=[".cache/*", "**/.cache/*"]
        )
    except LocalTokenNotFoundError as error:
        raise InputError("no Hub token; run `hf auth login` or set HF_TOKEN") from error
    except (HfHubHTTPError, OSError) as error:
        raise WorkError(f"the Hub did not take {repo}: {str(error).splitlines()[0]}") from error
    return [f"uploaded to {where}:", *lines]
