"""The manifest of a benchmark: where each input file comes from, its hash, and the settings of `exprbench build`."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from exprbench.benchmark import Asset, Benchmark
from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from exprbench.core.schema import decode

SCHEMA = 1
FOLDERS = {
    "portraits": ("portrait", "single"),
    "driving": ("driver", "single"),
    "multi-portraits": ("portrait", "multi"),
    "multi-driving": ("driver", "multi"),
}
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
MAX_NAME_BYTES = 200
NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One input file.

    Attributes:
        path: `FOLDER/NAME`, with one of `FOLDERS`.
        url: address of the file itself, http or https.
        num_bytes: its size; 0 if unknown.
        source: page that describes the file.
        person: people it shows, separated by `;`.
        faces: number of faces in which none are detected; 0 if they are.
        start_s: seconds at the beginning of a video that are skipped.
    """

    path: str
    url: str
    sha256: str
    num_bytes: int = 0
    source: str = ""
    author: str = ""
    licence: str = ""
    person: str = ""
    faces: int = 0
    start_s: float = 0.0

    @property
    def folder(self) -> str:
        """Return the folder of the file."""
        return self.path.split("/")[0]

    @property
    def name(self) -> str:
        """Return the name of the file in its folder."""
        return self.path.split("/")[1]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Content of a manifest: the files, and the settings of `exprbench build`.

    Attributes:
        benchmark_sha256: hash of the benchmark that is built from the files.
    """

    schema: int
    name: str
    benchmark_sha256: str
    fps: float
    clip_seconds: float
    cross_per_portrait: int
    seed: int
    files: list[SourceFile]


def write_manifest(benchmark: Path | str, out: Path | str) -> list[str]:
    """Write the manifest of a benchmark and return the files that it lacks, one line each with the reason.

    The address of a file is the column `url` of `sources.csv`, or else `source`.
    """
    bench = Benchmark.open(benchmark)
    files, problems = [], []
    for path, asset in bench.assets.items():
        if asset.kind == "tracks":
            problems.append(f"{path}: face tracks that were given with the input have no address")
        elif asset.kind != "first_frame":
            source_file = _source_file(asset)
            reason = problem_of(source_file)
            files += [] if reason else [source_file]
            problems += [f"{path} ({asset.original}): {reason}"] if reason else []
    manifest = Manifest(
        schema=SCHEMA,
        name=bench.name,
        benchmark_sha256=bench.sha256,
        fps=bench.fps,
        clip_seconds=bench.clip_seconds,
        cross_per_portrait=_cross_per_portrait(bench),
        seed=bench.seed,
        files=files,
    )
    write_json(Path(out), asdict(manifest))
    return problems


def _source_file(asset: Asset) -> SourceFile:
    folder = next(name for name, kind in FOLDERS.items() if kind == (asset.kind, asset.split))
    return SourceFile(
        path=f"{folder}/{asset.original}",
        url=asset.url or asset.source,
        sha256=asset.original_sha256,
        num_bytes=asset.original_bytes,
        source=asset.source,
        author=asset.author,
        licence=asset.licence,
        person=asset.person,
        faces=0 if asset.faces_found else asset.num_faces,
        start_s=asset.start_s,
    )


def _cross_per_portrait(bench: Benchmark) -> int:
    counts = Counter(case.source for case in bench.select(track="cross"))
    return max(counts.values(), default=0)


def load_manifest(path: Path | str) -> Manifest:
    """Return the manifest in a file, after checking that no file of it leaves its folder.

    Raises:
        UserError: it is not a manifest, or names a file that cannot be fetched safely.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no manifest {path}; exprbench manifest BENCH --out FILE writes one")
    manifest = decode(Manifest, read_json(path), str(path))
    if manifest.schema != SCHEMA:
        raise UserError(f"{path} has schema {manifest.schema}; this version reads {SCHEMA}")
    seen: dict[str, str] = {}
    for number, file in enumerate(manifest.files, 1):
        if reason := problem_of(file):
            raise UserError(f"{path}: file {number} ({file.path!r}): {reason}")
        other = seen.setdefault(file.path.casefold(), file.path)  # also one file where upper and lower case are equal
        if other is not file.path:
            raise UserError(f"{path}: file {number} ({file.path!r}) is listed twice, also as {other!r}")
    return manifest


def problem_of(file: SourceFile) -> str:
    """Return why a file cannot be fetched safely or verified; empty if it can."""
    folder, _, name = file.path.partition("/")
    if folder not in FOLDERS:
        return f"its folder is {folder!r}; expected {', '.join(FOLDERS)}"
    if NOT_IN_NAMES.search(name) or name.startswith((".", "-")) or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        return f"its name {name!r} is not a plain file name"
    if name.lower() == "sources.csv":
        return "its name is taken by the list of sources"
    if not SHA256.fullmatch(file.sha256):
        return f"its sha256 is {file.sha256!r}; expected 64 hexadecimal digits (a new exprbench build records it)"
    if not file.num_bytes >= 0 or not file.start_s >= 0 or not 0 <= file.faces <= 99:
        return f"num_bytes {file.num_bytes}, start_s {file.start_s}, faces {file.faces}; expected 0 or more"
    return problem_of_url(file.url)


def problem_of_url(url: str) -> str:
    """Return why an address is not fetched; empty if it is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"its url {url!r} is not valid ({error})"
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\x00-\x20\x7f]", url):
        return f"its url is {url!r}; expected http:// or https:// (columns url or source of sources.csv)"
    if parts.username or parts.password:
        return f"its url has a user name or password ({host}); expected a public address"
    return ""


def plain_number(value: float) -> str:
    """Return a number with up to nine decimals and without trailing zeros."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def build_command(manifest: Manifest, root: Path, folders: Sequence[str]) -> str:
    """Return the command that builds the benchmark from the collected folders."""
    flags = [word for folder in folders for word in (f"--{folder}", str(root / folder))]
    settings = ["--clip-seconds", plain_number(manifest.clip_seconds), "--fps", plain_number(manifest.fps)]
    settings += ["--cross-per-portrait", str(manifest.cross_per_portrait), "--seed", str(manifest.seed)]
    return shlex.join(["exprbench", "build", *flags, *settings, "--name", manifest.name, "--out", "BENCH"])
