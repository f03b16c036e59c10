"""``lorabench push runs/ID REPO``: put what a cell saved on the Hugging Face hub, with a model card."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from lorabench.errors import UserError
from lorabench.files import read_json
from lorabench.records.card import card, hub_of, kind_of, without_places
from lorabench.records.form import check_record
from lorabench.records.kept import read_kept
from lorabench.terminal.entry import command, one_line

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Environment variables for a token; none that is stored on this machine is used."""

CONFIGS = ("adapter_config.json", "config.json", "generation_config.json", "tokenizer_config.json")
"""Files in which PEFT and transformers say where the base was loaded from."""


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Put the adapter of a cell that was trained with save_adapter=true on the Hugging Face hub, with a model "
        "card: base model, settings, scores, and how to load it. Paths of this machine are left out. The token is HF_TOKEN's.",
    )
    parser.add_argument("cell", metavar="runs/ID", type=Path, help="the folder of the cell")
    parser.add_argument("repo", metavar="REPO", help="OWNER/NAME; made where it does not exist")
    parser.add_argument("--private", action="store_true", help="a repository that is made is not public")
    return parser


def main(arguments: list[str], prog: str) -> None:
    """Run the command line."""
    with command():
        options = one_line(parser(prog)).parse_args(arguments)
        files = upload_of(options.cell, options.repo)
        token = next((text.strip() for name in TOKENS if (text := os.environ.get(name))), None)
        if not token:
            raise UserError("push needs a token that may write: set HF_TOKEN (https://huggingface.co/settings/tokens)")
        if not (token.isascii() and token.isprintable()) or " " in token:  # the client would print it in its error
            raise UserError("HF_TOKEN holds no token: it has a blank, or a character that is not printed; set it again")
        print(_upload(files, options.repo, token, options.private))


def upload_of(cell: Path, repo: str) -> dict[str, bytes | Path]:
    """The files of a repository by their names: what the cell saved, its configs without places, and the card.

    Raises:
        UserError: no finished cell, or one that saved nothing.
    """
    record = read_kept(cell / "record.json", check_record)
    if record is None:
        raise UserError(f"{cell} holds no record of a cell; give a cell's folder, such as runs/0123456789abcdef")
    if record["status"] != "complete":
        raise UserError(f"{cell} is {record['status']}; only a complete cell can be pushed")
    folder = cell / "adapter"
    kind = kind_of(folder)
    if kind is None:
        raise UserError(f"{cell} has no saved adapter; delete it, and train the cell again with save_adapter=true")
    places = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    files: dict[str, bytes | Path] = {file.relative_to(folder).as_posix(): file for file in places}
    for name in CONFIGS:
        if name in files:
            files[name] = _config(folder / name, hub_of(record))
    return files | {"README.md": card(record, kind, repo).encode()}


def _config(file: Path, hub: str | None) -> bytes:
    content = read_json(file)
    if content is None:
        raise UserError(f"{file} is no JSON object; delete the cell's folder, and train it again with save_adapter=true")
    return (json.dumps(without_places(content, hub), indent=2, sort_keys=True) + "\n").encode()


def _upload(files: dict[str, bytes | Path], repo: str, token: str, private: bool) -> str:
    """Make the repository where it is not there, and one commit; returns its address.

    Raises:
        UserError: the hub cannot be reached, or does not let it happen.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise UserError("push needs the hub, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE says to do without; unset them")
    api = HfApi(token=token)
    try:
        made = api.create_repo(repo, private=private or None, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(made.repo_id, operations, commit_message="Upload by lorabench")
    except Exception as error:  # the client raises many kinds: a name, a token, a right, a connection
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"cannot push to {repo}: {reason.strip()}".replace(token, "…")) from None
    return str(made)
