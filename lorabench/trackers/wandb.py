"""Weights & Biases: each cell a run, online or into files that `wandb sync` sends later."""

import http.client
import importlib.util
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from lorabench.errors import UserError
from lorabench.provenance import git_state
from lorabench.terminal.bars import note
from lorabench.trackers.base import TrackedCell, Tracker
from lorabench.trackers.summary import summary

EXIT_CODES = {"complete": 0, "failed": 1, "diverged": 2}
INTERRUPTED = 130
NAME_LENGTH = 128  # W&B's limit
ANSWER = 5.0  # seconds for the service's first answer


@dataclass
class Wandb(Tracker):
    """A run with the cell's id, which an interrupted cell resumes; conf/tracker/wandb.yaml explains the attributes.

    ``memory["down"]``: the service was asked once in vain, and is not waited for again by this process.
    """

    project: str = "lorabench"
    entity: str | None = None
    mode: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    artifacts: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in (None, "online", "offline"):
            raise UserError(f"tracker.mode={self.mode} is unknown; available: online, offline")

    def prepare(self) -> None:
        """Raise UserError where wandb is missing, or nobody is logged in and nothing says offline."""
        spec = importlib.util.find_spec("wandb")
        if spec is None or spec.origin is None:  # without an origin it is a folder of that name, such as wandb makes itself
            raise UserError("tracker=wandb needs the package wandb: pip install 'lorabench[wandb]'")
        try:
            import wandb

            default = wandb.setup(settings=wandb.Settings(silent=True)).settings.mode
            # Asked for now: it would ask a terminal for a login while the cell trains.
            ready = (self.mode or default) != "online" or self.memory.get("down") or wandb.login(prompt=False, verify=False)
        except Exception as error:  # a package that does not fit another, a key of a wrong form
            raise UserError(f"tracker=wandb: {_line(error)}; repair it or leave out tracker=wandb") from error
        if not ready:
            raise UserError("tracker=wandb: no login; run `wandb login`, or log into files with tracker.mode=offline")

    def start(self, cell: TrackedCell) -> None:
        """Open the run; where the service does not answer, in files, for this cell and those that follow."""
        import wandb

        self._cell = cell
        mode = "offline" if self.memory.get("down") else self.mode
        settings = wandb.setup(settings=wandb.Settings(silent=True)).settings
        try:
            if (mode or settings.mode) == "online":
                _reach(settings.base_url)
            self._run = self._open(mode)
        except wandb.errors.CommError as error:
            self.memory["down"] = True
            command = f"wandb sync {self._folder}/offline-run-*"
            note(f"tracker=wandb: {_line(error)}; from here on into files: `{command}` sends them")
            wandb.teardown()  # the run that did not start holds the id
            wandb.setup(settings=wandb.Settings(silent=True))
            self._run = self._open("offline")

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Log into the section ``train``."""
        if step >= self._run.starting_step:  # the service has the others, from before an interruption
            self._run.log({f"train/{name}": value for name, value in metrics.items()}, step=step)

    def finish(self, record: dict[str, Any] | None) -> None:
        """Summary, artifact and exit code."""
        self._run.summary.update(summary(record) if record else {"status": "interrupted"})
        if record and self.artifacts:
            self._log_artifact()
        try:
            self._run.finish(exit_code=EXIT_CODES[record["status"]] if record else INTERRUPTED)
        except TimeoutError as error:
            self.memory["down"] = True
            command = f"wandb sync {self._folder}/run-*-{self._cell.id}"
            raise TimeoutError(f"W&B has not taken everything in {self.timeout:g} s; `{command}` sends the rest") from error

    def _open(self, mode: str | None) -> Any:
        import wandb

        config = self._cell.config | {"cell": self._cell.id, "git": git_state()}
        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=mode,  # type: ignore[arg-type]
            id=self._cell.id,
            resume="allow",
            reinit="create_new",
            name=self._cell.label[:NAME_LENGTH],
            group=self.group,
            tags=self.tags,
            config=config,
            dir=str(self._cell.output_dir),
            settings=wandb.Settings(
                silent=True,
                quiet=True,
                console="off",
                symlink=False,  # to the latest run, of which there may be several at a time
                disable_git=True,  # its record of uncommitted changes; the commit is in the config
                init_timeout=self.timeout,
                finish_timeout=self.timeout,
                finish_timeout_raises=True,
            ),
        )

    @property
    def _folder(self) -> str:
        return f"{self._cell.output_dir}/wandb"

    def _log_artifact(self) -> None:
        import wandb

        artifact = wandb.Artifact(f"cell-{self._cell.id}", type="cell")
        if (completions := self._cell.folder / "completions.jsonl.gz").exists():
            artifact.add_file(str(completions))
        if (adapter := self._cell.folder / "adapter").exists():
            artifact.add_dir(str(adapter), name="adapter")
        self._run.log_artifact(artifact)


def _reach(url: str) -> None:
    """Ask the service once; W&B itself asks one that refuses again and again, for all of ``timeout``.

    What else goes wrong, a proxy's or a certificate's trouble, is left to W&B, which has settings for it.

    Raises:
        CommError: nobody listens there, or there is no host of that name.
    """
    import wandb

    try:
        urllib.request.urlopen(url, timeout=ANSWER).close()
    except urllib.error.URLError as error:
        if isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
            raise wandb.errors.CommError(f"no way to {url} ({error.reason.strerror})") from error
    except (OSError, ValueError, http.client.HTTPException):
        pass


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
