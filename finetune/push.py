"""Uploads a run to a model repository on a hub in one commit."""

import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from requests import RequestException

from finetune.errors import UserError
from finetune.recipe_io import parse_recipe
from finetune.run_info import ROUGE_FILE, RUN_FILE, read_rouge, read_run
from precis.bundle.manifest import parse_manifest
from precis.errors import BundleError

FILES = ("README.md", ROUGE_FILE, RUN_FILE, "samples.md", "data.md", "data.png", "training.png")
FOLDERS = ("adapter", "bundle", "bundle-*")


def push(run: Path, repository: str, private: bool) -> str:
    """Uploads the folder `run` to `repository` ("owner/name") and returns the commit's URL.

    A missing repository is created, `private` or public. The token is huggingface_hub's own (HF_TOKEN or its login); it
    is neither printed nor written. Raises UserError.
    """
    if not (run / RUN_FILE).is_file() or not (run / "merged").is_dir():
        raise UserError(f"push: {run} is not a run of Precis; make one by python -m finetune RECIPE.")
    _check_bundles(run)
    token = get_token()
    if token is None:
        raise UserError("push: there is no token; set HF_TOKEN or log in with hf auth login.")
    if not token.isascii():
        raise UserError("push: the token holds characters that no token has; copy it once more.")
    try:
        files = operations(run)
    except OSError as error:
        raise UserError(f"push: {error.filename}: {error.strerror}.") from error
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(repository, operations=files, commit_message=f"Precis run {run.resolve().name}")
    except HFValidationError as error:
        raise UserError(f"push: {repository} is not a valid repository name; it should read owner/name.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        reasons = {401: "does not know this token", 403: "does not let this token write there"}
        reason = reasons.get(status, f"answered {status}")
        raise UserError(f"push: the hub {reason} ({repository}); no file was uploaded.") from error
    except ValueError as error:  # metadata of the card that the hub does not take
        raise UserError(f"push: {' '.join(str(error).split())}; no file was uploaded.") from error
    except (RequestException, OSError) as error:
        raise UserError(f"push: the hub at {api.endpoint} cannot be reached; no file was uploaded.") from error
    return commit.commit_url


def _check_bundles(run: Path) -> None:
    """Raises UserError if a bundle was exported from another model than that of run.json: training keeps old ones."""
    info, rouge = read_run(run), read_rouge(run)
    for path in sorted(run.glob("bundle*/manifest.json")):
        try:
            manifest = parse_manifest(json.loads(path.read_bytes()), path)
            exported = (parse_recipe(manifest.recipe), manifest.training_seconds, manifest.rouge)
        except (OSError, ValueError, BundleError) as error:
            raise UserError(f"push: {path} cannot be read: {error}") from error
        if exported != (info.recipe, info.training_seconds, rouge):
            raise UserError(
                f"push: {path.parent} was exported from an earlier training of this run; run python -m export {run} "
                "first, or delete the bundle."
            )


def operations(run: Path) -> list[CommitOperationAdd]:
    """The files to upload with their paths in the repository. The merged model is at the top, for from_pretrained."""
    files = {name: run / name for name in FILES if (run / name).is_file()}
    files |= {path.name: path for path in (run / "merged").iterdir() if path.is_file() and path.name != "README.md"}
    for pattern in FOLDERS:
        for folder in sorted(run.glob(pattern)):
            files |= {str(path.relative_to(run)): path for path in folder.rglob("*") if path.is_file()}
    return [CommitOperationAdd(name, path) for name, path in sorted(files.items())]
