"""The processes of a job: argument vectors, configuration files, environment and working folder."""

import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.method_environment import Environment
from baselines.spec import PLACEHOLDER, Method
from baselines.stage import Job
from exprbench.core.errors import UserError, unknown_name
from exprbench.core.files import write_text

Values = Mapping[str, str | tuple[str, ...]]
DROPPED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One process: its argument vector, working folder and changes to the environment."""

    argv: tuple[str, ...]
    cwd: Path
    env: dict[str, str]

    def __str__(self) -> str:
        words = [*(f"{name}={value}" for name, value in sorted(self.env.items())), *self.argv]
        return f"cd {shlex.quote(str(self.cwd))} && env {shlex.join(words)}"


def placeholders(method: Method, job: Job, environment: Environment, options: Mapping[str, str], seed: int) -> Values:
    """Return the values of all placeholders for a job."""
    return {
        **method.options,
        **options,
        "python": environment.python,
        "repo": str(environment.repo or ""),
        "method": str(method.folder),
        "job": str(job.folder),
        "cwd": str(job.folder / "cwd"),
        "out": str(job.out),
        "source": str(job.source_path),
        "driver": str(job.driver_paths[0]),
        "drivers": tuple(map(str, job.driver_paths)),
        "seed": str(seed),
        "fps": str(job.fps),
        "num_frames": str(job.num_frames),
        "num_frames_4k1": str((job.num_frames - 1) // 4 * 4 + 1),
        "port": str(free_port()),
        "config": str(job.folder / method.configs[0].name) if method.configs else "",
        "assign": job.assign,
    }


def fill(text: str, values: Values) -> str:
    """Return a text with its placeholders replaced; a list is joined with spaces."""

    def value(match: re.Match[str]) -> str:
        found = values[match["name"]]
        return found if isinstance(found, str) else " ".join(found)

    return PLACEHOLDER.sub(value, text)


def fill_words(words: tuple[str, ...], values: Values) -> tuple[str, ...]:
    """Return an argument vector with its placeholders replaced.

    A word that is only `{drivers}` or `{python}` becomes one word per item; `{each:--flag}` becomes `--flag DRIVER` for
    every driver.
    """
    filled: list[str] = []
    for word in words:
        match = PLACEHOLDER.fullmatch(word)
        if match and match["flag"]:
            filled += [part for driver in values["drivers"] for part in (match["flag"], driver)]
        elif match and not isinstance(values[match["name"]], str):
            filled += values[match["name"]]
        else:
            filled.append(fill(word, values))
    return tuple(filled)


def make_commands(method: Method, job: Job, values: Values, gpu: str) -> list[Command]:
    """Return the processes of a job, in order; `values` are those of `placeholders`."""
    env = {
        "CUDA_VISIBLE_DEVICES": gpu,
        "MPLBACKEND": "Agg",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(job.folder / "tmp"),
        **{name: fill(text, values) for name, text in method.env.items()},
    }
    cwd = job.folder / "cwd"
    return [Command(argv=fill_words(step.run, values), cwd=cwd, env=env) for step in method.steps_for(job.kind)]


def check_options(method: Method, options: Mapping[str, str]) -> None:
    """Raise UserError if an option is unknown, or one without a default is missing."""
    for name in options:
        if name not in method.options:
            raise unknown_name(f"option of {method.id}", name, sorted(method.options) or ["none"])
    for name, default in method.options.items():
        if not default and name not in options:
            raise UserError(f"{method.id} needs --set {name}=VALUE")


def absolute_paths(method: Method, options: Mapping[str, str]) -> dict[str, str]:
    """Return options with absolute paths of model files that are there: jobs run in folders of their own."""
    names = {match["name"] for weight in method.weights for match in PLACEHOLDER.finditer(weight.path)}

    def value(name: str, text: str) -> str:
        return str(Path(text).absolute()) if name in names and Path(text).exists() else text

    return {name: value(name, text) for name, text in options.items()}


def write_configs(method: Method, job: Job, environment: Environment, values: Values) -> None:
    """Write the configuration files of a job: a template of the repository with the job's values.

    Raises:
        UserError: a template is missing or is not a YAML mapping.
    """
    for config in method.configs:
        content = _read_yaml(_template(method, environment, config.template)) if config.template else {}
        changes = {key: _parse_yaml(fill(text, values)) for key, text in config.values.items()}
        write_text(job.folder / config.name, _dump_yaml({**content, **changes}))


def _template(method: Method, environment: Environment, relative: str) -> Path:
    folders = [method.folder, *([environment.repo] if environment.repo else [])]
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    raise UserError(f"{method.id}: there is no {relative} in {' or '.join(map(str, folders))}")


def _read_yaml(path: Path) -> dict:
    content = _parse_yaml(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a YAML mapping")
    return content


def _parse_yaml(text: str) -> Any:
    return _yaml().safe_load(text)


def _dump_yaml(content: dict) -> str:
    return _yaml().safe_dump(content, sort_keys=False, allow_unicode=True)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise UserError("PyYAML is missing; install it with: pip install 'exprbench[baselines]'") from error
    return yaml


def make_working_folder(method: Method, job: Job, environment: Environment) -> None:
    """Make the working folder: links to the repository's entries, without those that the method writes to.

    So relative paths to weights work, and files that the method writes stay in the job's folder.
    """
    cwd = job.folder / "cwd"
    cwd.mkdir()
    for entry in sorted(environment.repo.iterdir()) if environment.repo else []:
        if entry.name not in (*method.writes, ".git"):
            (cwd / entry.name).symlink_to(entry)


def job_environment(method: Method, command: Command) -> dict[str, str]:
    """Return the environment variables of a process; Python settings of this one are not passed to other code."""
    dropped = DROPPED if method.repo else ()
    return {**{name: value for name, value in os.environ.items() if name not in dropped}, **command.env}


def free_port() -> int:
    """Return a TCP port that is free on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
