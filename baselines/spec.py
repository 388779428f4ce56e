"""Specification of a method: how it is installed, called, and how its output maps to the benchmark.

A method is a folder with `method.toml`, and optionally `requirements.txt`, `requirements.lock`, `patches/*.diff` and
small scripts. `docs/baselines.md` explains every key.
"""

import os
import re
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.files import sha256_bytes, sha256_json
from exprbench.core.schema import decode

METHODS = Path(__file__).parent / "methods"
ENTRY_POINTS = "exprbench.baselines"
FOLDERS = "EXPRBENCH_METHODS"
PLACEHOLDER = re.compile(r"\{(?:each:(?P<flag>[^{}]+)|(?P<name>\w+))\}")
NAMES = {
    *("python", "repo", "method", "job", "cwd", "out", "source", "driver", "drivers", "config", "assign"),
    *("seed", "fps", "num_frames", "num_frames_4k1", "port"),
}
STATUSES = ("not run", "not working", "working", "working, numbers differ", "reproduces the paper")

Kind = Literal["single", "multi"]
Fit = Literal["same", "stretch", "inside", "height"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One process of a job.

    Attributes:
        run: argument vector with placeholders.
        only: kind of case that the step is for; both by default.
    """

    run: tuple[str, ...]
    only: Literal["", "single", "multi"] = ""


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A YAML file written for each job.

    Attributes:
        name: file name in the job's folder; the placeholder `{config}` is its path.
        template: file of the repository (or of the method's folder) whose values are the defaults.
        values: key -> YAML text with placeholders.
    """

    name: str = "config.yaml"
    template: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Form in which a method receives its inputs.

    Attributes:
        source, driver: the whole picture, or the square around the face.
        size: side of the square in pixels.
        audio: whether drivers get a silent audio track, for methods that fail without one.
        drivers: for several people, one video per face (`face`), or the case's videos and its assignment (`case`).
    """

    source: Literal["full", "square"] = "full"
    driver: Literal["full", "square"] = "full"
    size: int = 512
    audio: bool = False
    drivers: Literal["face", "case"] = "face"


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """Where a method writes its video, which driver frame each of its frames shows, and which part of the picture.

    Attributes:
        find: glob patterns; together they must match one file.
        exclude: glob patterns of file names to ignore.
        frames: `all`, the largest `4k+1` or `4k`, or frames `sampled` by time at `fps`.
        fps: rate of `sampled`.
        first: index of the driver frame that the first output frame shows.
        count: fixed number of frames; shorter drivers are padded with their last frame. 0: as many as the driver has.
        max_frames: limit of the method; 0: none.
        longer: whether extra frames at the end are expected, and dropped.
        fit: how the source was brought to the output's shape: not at all (`same`), `stretch`, `inside` (letterbox) or
            `height` (scaled to the height, then padded or cropped at the sides).
        panels, panel, gutter: number of pictures next to each other, index of the result, pixels around each.
        crop: glob pattern of an image with the source as the method cropped it; empty for none.
        crop_panel: index of the panel that shows the source as the method cropped it; -1 for none.
    """

    find: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    frames: Literal["all", "4k+1", "4k", "sampled"] = "all"
    fps: float = 0.0
    first: int = 0
    count: int = 0
    max_frames: int = 0
    longer: bool = False
    fit: Fit = "same"
    panels: int = 1
    panel: int = 0
    gutter: int = 0
    crop: str = ""
    crop_panel: int = -1


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A model file or folder that the method reads, relative to its repository; sha256 where it is known."""

    path: str
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method, as described by its `method.toml`.

    Attributes:
        name: name in tables.
        repo, commit: git address and commit; empty for a method that runs from an installed package.
        licence: licence of the code and restrictions of the weights.
        python: Python version of its environment.
        exclude_newer: date; later releases of packages are ignored when the lock is made.
        build: packages that are compiled after the lock is installed (`pip install --no-build-isolation`).
        multi: `native` (several faces at once), `compose` (one run per face, our construction) or `none`.
        minutes: time limit of one attempt.
        min_vram_gb: GPU memory needed; 0 if unknown.
        seed: default of `{seed}`.
        writes: entries of the repository that the method writes to; they are private to each job.
        env: environment variables, with placeholders.
        options: values that the user can set with `--set NAME=VALUE`; an empty one must be set.
        no_face: regular expressions of log lines which mean that the method found no face.
        paper_results: dataset -> column -> value in the paper's Table 1.
        reference_results: benchmark -> column -> value of a run, with which `baselines test` compares.
        status: benchmark -> one of `STATUSES`.
    """

    name: str
    licence: str
    python: str
    steps: tuple[Step, ...]
    output: OutputSpec
    repo: str = ""
    commit: str = ""
    exclude_newer: str = ""
    build: tuple[str, ...] = ()
    multi: Literal["native", "compose", "none"] = "compose"
    minutes: float = 30.0
    min_vram_gb: float = 0.0
    seed: int = 42
    input: InputSpec = field(default_factory=InputSpec)
    configs: tuple[ConfigFile, ...] = ()
    writes: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    no_face: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    paper_results: dict[str, dict[str, float]] = field(default_factory=dict)
    reference_results: dict[str, dict[str, float]] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    id: str = ""
    folder: Path = METHODS

    def steps_for(self, kind: Kind) -> tuple[Step, ...]:
        """Return the steps of a job with one face (`single`) or several faces at once (`multi`)."""
        return tuple(step for step in self.steps if step.only in ("", kind))

    @property
    def takes_seed(self) -> bool:
        """Return whether a seed is passed to the method; others have none, or one of their own."""
        return any("{seed}" in text for text in _texts(self))

    @property
    def lock_path(self) -> Path:
        """Return the path of the lock, whether it exists or not."""
        return self.folder / "requirements.lock"

    @property
    def patches(self) -> tuple[Path, ...]:
        """Return the patches to the repository, in the order in which they are applied."""
        return tuple(sorted((self.folder / "patches").glob("*.diff")))

    @cached_property
    def sha256(self) -> str:
        """Return the hash of all files of the method's folder, except status and results of `method.toml`."""
        files = (p for p in sorted(self.folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
        contents = {p.relative_to(self.folder).as_posix(): sha256_bytes(p.read_bytes()) for p in files}
        settings = {k: v for k, v in read_toml(self.folder / "method.toml").items() if k not in _NOT_SETTINGS}
        return sha256_json({**contents, "method.toml": settings})


_NOT_SETTINGS = ("status", "paper_results", "reference_results")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        UserError: the file is not valid TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error


def load_method(folder: Path) -> Method:
    """Load and check the method in a folder.

    Raises:
        UserError: a key, value or placeholder of its `method.toml` is invalid.
    """
    path = folder / "method.toml"
    if not path.is_file():
        raise UserError(f"{folder} is not a method: it has no method.toml; see docs/baselines.md")
    values = read_toml(path)
    for reserved in ("id", "folder"):
        if reserved in values:
            raise UserError(f"{path} sets {reserved!r}, which is the folder's own; remove it")
    method = replace(decode(Method, values, str(path)), id=folder.name, folder=folder)
    _check(method, path)
    return method


def _check(method: Method, path: Path) -> None:
    if bool(method.repo) != bool(method.commit) or (method.commit and not re.fullmatch("[0-9a-f]{40}", method.commit)):
        raise UserError(f"{path}: repo and a commit of 40 hexadecimal digits belong together")
    known = NAMES | set(method.options)
    for text in _texts(method):
        for match in PLACEHOLDER.finditer(text):
            if match["name"] and match["name"] not in known:
                raise UserError(f"{path}: {unknown_name('placeholder', match['name'], sorted(known))}")
    for status in method.status.values():
        if status not in STATUSES:
            raise UserError(f"{path}: {unknown_name('status', status, list(STATUSES))}")
    output = method.output
    if output.frames == "sampled" and output.fps <= 0:
        raise UserError(f"{path}: output.frames is 'sampled', which needs output.fps above 0")
    if not 0 <= output.panel < output.panels:
        raise UserError(f"{path}: output.panel is {output.panel}; expected 0 to {output.panels - 1}")
    if not -1 <= output.crop_panel < output.panels:
        raise UserError(f"{path}: output.crop_panel is {output.crop_panel}; expected -1 to {output.panels - 1}")
    if not method.steps_for("single"):
        raise UserError(f"{path} has no step for a single face")


def _texts(method: Method) -> list[str]:
    texts = [word for step in method.steps for word in step.run]
    texts += [*method.output.find, *method.env.values(), method.output.crop]
    return texts + [text for config in method.configs for text in config.values.values()]


def method_folders() -> dict[str, Path]:
    """Return the folders of all methods by id: ours, those of installed packages, and those of `$EXPRBENCH_METHODS`.

    A package registers the folder that holds its methods as an entry point of the group `exprbench.baselines`, which
    names a module. `$EXPRBENCH_METHODS` is a list of folders like `PATH`. A later one replaces an earlier one.

    Raises:
        UserError: an entry point names no package that can be imported.
    """
    roots = [METHODS, *map(_package_folder, entry_points(group=ENTRY_POINTS))]
    roots += [Path(text).absolute() for text in os.environ.get(FOLDERS, "").split(os.pathsep) if text]
    return {path.parent.name: path.parent for root in roots for path in sorted(root.glob("*/method.toml"))}


def _package_folder(point: EntryPoint) -> Path:
    try:
        return Path(next(iter(point.load().__path__)))
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the methods of the entry point {point.name} = {point.value} cannot be loaded ({error}); "
            "fix or uninstall the package that registers it"
        ) from error


def find_method(name: str) -> Method:
    """Return a method by its id, or by the path of its folder.

    Raises:
        UserError: there is no such method, or its specification is invalid.
    """
    folders = method_folders()
    if name in folders:
        return load_method(folders[name])
    if "/" in name or (Path(name) / "method.toml").is_file():
        return load_method(Path(name).resolve())
    raise unknown_name("method", name, sorted(folders))


def load_methods() -> list[Method]:
    """Return all methods, by id."""
    return [load_method(folder) for _, folder in sorted(method_folders().items())]
