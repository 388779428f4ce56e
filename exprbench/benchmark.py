"""Read and check an ExprBench benchmark folder; `exprbench.building` builds one.

Layout of BENCH/:
  benchmark.json      name, frame rate, clip length, seed; of each asset its hash, size, faces, source and licence
  cases.csv           case_id, split, track, source, drivers, face_map
  portraits/          still images
  driving/            H.264 clips without sound at the benchmark's frame rate, each with its first frame as PNG
"""

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import inside, sha256_json, sha256_path
from exprbench.core.schema import decode
from exprbench.media import open_clip, read_image

SCHEMA = 2
SPLITS = ("single", "multi")
TRACKS = ("self", "cross")
CASE_ID = re.compile(r"(single|multi)-(self|cross)-\d{4,6}", re.ASCII)
FACE = re.compile(r"\d{1,3}\.\d{1,3}|-", re.ASCII)
COLUMNS = ("case_id", "split", "track", "source", "drivers", "face_map")
NOT_DRIVEN = "-"

# Fields that describe a benchmark or a file and cannot change a score; all others are part of the hash.
DESCRIPTIVE = {"root", "name", "clip_seconds", "seed", "left_out", "made_by"}
DESCRIPTIVE_OF_ASSET = {
    *("original", "original_sha256", "original_bytes", "start_s"),
    *("source", "url", "author", "licence", "person"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One video that a method generates: the faces of a source image, animated by the faces of driving videos.

    Attributes:
        source: path of the source image, relative to the benchmark.
        drivers: paths of the driving videos, relative to the benchmark.
        face_map: for each face of the source, left to right, (index into `drivers`, index of the driver's face, left
            to right), or None for a face that is not driven.
    """

    case_id: str
    split: str
    track: str
    source: str
    drivers: tuple[str, ...]
    face_map: tuple[tuple[int, int] | None, ...]

    def to_row(self) -> dict[str, str]:
        """Return the case as a row of cases.csv."""
        pairs = (NOT_DRIVEN if pair is None else f"{pair[0]}.{pair[1]}" for pair in self.face_map)
        return {**vars(self), "drivers": ";".join(self.drivers), "face_map": ";".join(pairs)}

    @staticmethod
    def from_row(row: dict[str, str]) -> "Case":
        """Return the case in a row of cases.csv.

        Raises:
            UserError: the row is not a valid case.
        """
        case_id, drivers = row["case_id"], tuple(row["drivers"].split(";"))
        entries = row["face_map"].split(";")
        if not CASE_ID.fullmatch(case_id) or case_id.rsplit("-", 1)[0] != f"{row['split']}-{row['track']}":
            raise UserError(f"cases.csv: {case_id!r} is not the id of a {row['split']} {row['track']} case")
        if not all(FACE.fullmatch(e) for e in entries):
            raise UserError(
                f"cases.csv: {case_id}: face_map is {row['face_map']!r}; expected driver.face entries like 0.0;0.1"
            )
        face_map = tuple(None if e == NOT_DRIVEN else (int(e.split(".")[0]), int(e.split(".")[1])) for e in entries)
        if any(pair and pair[0] >= len(drivers) for pair in face_map):
            raise UserError(f"cases.csv: {case_id}: face_map names a driver that the case does not have")
        return Case(**{**row, "drivers": drivers, "face_map": face_map})


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of a benchmark.

    Attributes:
        width, height: size in pixels.
        faces_found: false for a portrait whose faces (of cartoons, animals) are not detected.
        original: name of the input file.
        source, url, author, licence: origin of the input file: its page, and the address of the file itself.
        start_s: seconds of the input video that were skipped.
        original_sha256, original_bytes: hash and size of the input file; empty and 0 in older benchmarks.
    """

    kind: str  # portrait, driver, first_frame or tracks
    split: str
    sha256: str
    num_bytes: int
    width: int = 0
    height: int = 0
    num_frames: int = 1
    num_faces: int = 0
    faces_found: bool = True
    original: str = ""
    source: str = ""
    licence: str = ""
    person: str = ""
    url: str = ""
    author: str = ""
    start_s: float = 0.0
    original_sha256: str = ""
    original_bytes: int = 0

    def scored_fields(self) -> dict[str, Any]:
        """Return the fields that can change a score."""
        return {name: value for name, value in vars(self).items() if name not in DESCRIPTIVE_OF_ASSET}


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An input file that is not part of the benchmark, with the reason."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Benchmark:
    """An opened ExprBench folder."""

    root: Path
    name: str
    fps: float
    clip_seconds: float
    seed: int
    assets: dict[str, Asset]
    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()
    made_by: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = [f"{len(self.select(s, t))} {s} {t}" for s in SPLITS for t in TRACKS if self.select(s, t)]
        return f"<Benchmark {self.name!r} at {self.root}: {len(self.cases)} cases ({', '.join(counts)})>"

    @staticmethod
    def open(root: Path | str) -> "Benchmark":
        """Open a benchmark folder. Hashes of files are not checked; see `check`.

        Raises:
            UserError: the folder is not a benchmark, or its files cannot be read.
        """
        root = Path(root)
        if not (root / "benchmark.json").is_file():
            raise UserError(f"{root} is not a benchmark: it has no benchmark.json; build one with exprbench build")
        try:
            content = json.loads((root / "benchmark.json").read_text(encoding="utf-8"))
            return _from_json(root, content, read_cases(root))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{root / 'benchmark.json'} cannot be read: {error}") from error

    @cached_property
    def sha256(self) -> str:
        """Return the hash of everything that can change a score: frame rate, cases, and files with their facts."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in DESCRIPTIVE}
        content["assets"] = {path: asset.scored_fields() for path, asset in self.assets.items()}
        content["cases"] = [case.to_row() for case in self.cases]
        return sha256_json({"schema": SCHEMA, **content})

    def path(self, relative: str) -> Path:
        """Return the path of one of the benchmark's files."""
        return inside(self.root, relative)

    def select(self, split: str | None = None, track: str | None = None) -> tuple[Case, ...]:
        """Return the cases of a split and a track; None selects all."""
        return tuple(c for c in self.cases if split in (None, c.split) and track in (None, c.track))

    def describe(self) -> dict[str, Any]:
        """Return the content of benchmark.json."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "fps": self.fps,
            "clip_seconds": self.clip_seconds,
            "seed": self.seed,
            "assets": {path: asdict(asset) for path, asset in self.assets.items()},
            "left_out": [asdict(item) for item in self.left_out],
            "made_by": self.made_by,
            "sha256": self.sha256,
        }


def _from_json(root: Path, content: dict[str, Any], cases: tuple[Case, ...]) -> Benchmark:
    if content.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {content.get('schema')!r}; this version reads {SCHEMA}, so build it again")
    if not 1 <= float(content["fps"]) <= 240:
        raise ValueError(f"its frame rate is {content['fps']}; expected 1 to 240")
    bench = Benchmark(
        root=root,
        name=str(content["name"]),
        fps=float(content["fps"]),
        clip_seconds=float(content["clip_seconds"]),
        seed=int(content["seed"]),
        assets={
            path: decode(Asset, asset, f"{root / 'benchmark.json'}: {path}")
            for path, asset in content["assets"].items()
        },
        cases=cases,
        left_out=tuple(LeftOut(**item) for item in content["left_out"]),
        made_by=dict(content["made_by"]),
    )
    if content["sha256"] != bench.sha256:
        raise ValueError("benchmark.json and cases.csv do not belong together (their common hash differs)")
    return bench


def read_cases(root: Path) -> tuple[Case, ...]:
    """Return the cases in a benchmark's cases.csv."""
    path = root / "cases.csv"
    if not path.is_file():
        raise UserError(f"{root} has no cases.csv; build the benchmark again with exprbench build")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UserError(f"{path}: its columns are {reader.fieldnames}; expected {list(COLUMNS)}")
            cases = tuple(Case.from_row(row) for row in reader)
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num + 1}: {error}; restore the file") from error
    ids = [case.case_id for case in cases]
    if len(set(ids)) < len(ids):
        raise UserError(f"{path}: case {next(i for i in ids if ids.count(i) > 1)} is listed twice")
    return cases


def dump_cases(cases: Iterable[Case]) -> str:
    """Return the text of cases.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(case.to_row() for case in cases)
    return text.getvalue()


def check(root: Path | str) -> list[str]:
    """Return the problems of a benchmark, one line each; an empty list if it is complete and unchanged.

    Checks that every file exists, has its recorded hash and opens; that every driver has its recorded size and numbers
    of frames and faces; that given face tracks belong to their video; and that every case names existing files and
    faces.
    """
    bench = Benchmark.open(root)
    problems = [
        f"{path}: {text}" for path, asset in bench.assets.items() for text in _asset_problems(bench, path, asset)
    ]
    for case in bench.cases:
        problems += [f"{case.case_id}: {text}" for text in case_problems(bench, case)]
    known = {*bench.assets, "benchmark.json", "cases.csv"}
    present = (p.relative_to(bench.root).as_posix() for p in sorted(bench.root.rglob("*")) if p.is_file())
    return problems + [f"{path}: not part of the benchmark" for path in present if path not in known]


def _asset_problems(bench: Benchmark, relative: str, asset: Asset) -> list[str]:
    path = bench.path(relative)
    if not path.is_file():
        return ["missing"]
    if sha256_path(path) != asset.sha256:
        return ["changed since the benchmark was built (its hash differs)"]
    try:
        return _tracks_problems(bench, relative) if asset.kind == "tracks" else _content_problems(bench, path, asset)
    except ItemError as error:
        return [str(error)]


def _content_problems(bench: Benchmark, path: Path, asset: Asset) -> list[str]:
    from exprbench.faces.video_tracks import main_faces, track_faces

    if asset.kind in ("portrait", "first_frame"):
        height, width = read_image(path).shape[:2]
        same_size = (width, height) == (asset.width, asset.height)
        return [] if same_size else [f"is {width}x{height}, not {asset.width}x{asset.height}"]
    with open_clip(path) as clip:
        num_frames = sum(1 for _ in clip)
    size = f"{clip.info.width}x{clip.info.height}"
    problems = [] if size == f"{asset.width}x{asset.height}" else [f"is {size}, not {asset.width}x{asset.height}"]
    problems += [] if clip.info.fps == bench.fps else [f"has {clip.info.fps} frames per second, not {bench.fps}"]
    problems += [] if num_frames == asset.num_frames else [f"has {num_frames} frames, not {asset.num_frames}"]
    num_faces = len(main_faces(track_faces(path, fps=bench.fps)))
    return problems + ([] if num_faces == asset.num_faces else [f"shows {num_faces} faces, not {asset.num_faces}"])


def _tracks_problems(bench: Benchmark, relative: str) -> list[str]:
    from exprbench.faces.video_tracks import given_path, given_tracks

    for owner, asset in bench.assets.items():
        if asset.kind in ("portrait", "driver") and given_path(bench.path(owner)) == bench.path(relative):
            if not bench.path(owner).is_file() or sha256_path(bench.path(owner)) != asset.sha256:
                return []  # a problem of that file
            tracks = given_tracks(bench.path(owner))
            num_frames = tracks.num_frames if tracks else 0
            return [] if num_frames == asset.num_frames else [f"has {num_frames} frames, not {asset.num_frames}"]
    return ["belongs to no portrait or driver of the benchmark"]


def case_problems(bench: Benchmark, case: Case) -> list[str]:
    """Return the references of a case to files and faces that the benchmark does not have, one line each."""
    missing = [path for path in (case.source, *case.drivers) if path not in bench.assets]
    if missing:
        return [f"names {path}, which the benchmark does not list" for path in missing]
    pairs = [pair for pair in case.face_map if pair]
    return [
        f"face {face} of {case.drivers[driver]} does not exist"
        for driver, face in pairs
        if face >= bench.assets[case.drivers[driver]].num_faces
    ]
