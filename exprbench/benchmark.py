"""The ExprBench folder: what it holds, reading it, checking it. `exprbench.building` makes one.

BENCH/
  benchmark.json      name, rate, clip length, seed, and for every asset its hash, size, faces, source and licence
  cases.csv           case_id, split, track, source, drivers, face_map
  portraits/          still images
  driving/            H.264 clips at the benchmark's rate, without sound, each with its first frame as PNG
"""

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import inside, sha256_json, sha256_path
from exprbench.core.schema import decode
from exprbench.media import open_clip, read_image

SCHEMA = 1
SPLITS = ("single", "multi")
TRACKS = ("self", "cross")
CASE_ID = re.compile(r"(single|multi)-(self|cross)-\d{4,6}", re.ASCII)
FACE = re.compile(r"\d{1,3}\.\d{1,3}|-", re.ASCII)
COLUMNS = ("case_id", "split", "track", "source", "drivers", "face_map")
NOBODY = "-"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One video to be made: the source's people, driven by the drivers' faces.

    `face_map` has an entry for each face of the source, left to right: (index of the driver, index of its face, left
    to right), or None for a face nobody drives. Paths are relative to the benchmark.
    """

    case_id: str
    split: str
    track: str
    source: str
    drivers: tuple[str, ...]
    face_map: tuple[tuple[int, int] | None, ...]

    def to_row(self) -> dict[str, str]:
        """As a row of cases.csv."""
        pairs = (NOBODY if pair is None else f"{pair[0]}.{pair[1]}" for pair in self.face_map)
        return {**asdict(self), "drivers": ";".join(self.drivers), "face_map": ";".join(pairs)}

    @staticmethod
    def from_row(row: dict[str, str]) -> "Case":
        """From a row of cases.csv; a `UserError` says what is wrong with it."""
        case_id, drivers = row["case_id"], tuple(row["drivers"].split(";"))
        entries = row["face_map"].split(";")
        if not CASE_ID.fullmatch(case_id) or case_id.rsplit("-", 1)[0] != f"{row['split']}-{row['track']}":
            raise UserError(f"cases.csv: {case_id!r} is not the id of a {row['split']} {row['track']} case")
        if not all(FACE.fullmatch(e) for e in entries):
            raise UserError(
                f"cases.csv: {case_id}: face_map is {row['face_map']!r}; expected driver.face entries like 0.0;0.1"
            )
        face_map = tuple(None if e == NOBODY else (int(e.split(".")[0]), int(e.split(".")[1])) for e in entries)
        if any(pair and pair[0] >= len(drivers) for pair in face_map):
            raise UserError(f"cases.csv: {case_id}: face_map names a driver there is not")
        return Case(**{**row, "drivers": drivers, "face_map": face_map})


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of a benchmark. `num_faces` is null where nobody looked; `faces_found` false marks a portrait whose
    faces (a cartoon's, an animal's) no detector sees."""

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


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An input that did not become part of the benchmark, and why."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
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

    @staticmethod
    def open(root: Path | str) -> "Benchmark":
        """Read a folder; a `UserError` says what is wrong with it. Files' hashes are `check`'s business."""
        root = Path(root)
        if not (root / "benchmark.json").is_file():
            raise UserError(f"{root} is not a benchmark: it holds no benchmark.json; make one with exprbench build")
        try:
            told = json.loads((root / "benchmark.json").read_text(encoding="utf-8"))
            return _benchmark(root, told, read_cases(root))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{root / 'benchmark.json'} cannot be read: {error}") from error

    @cached_property
    def sha256(self) -> str:
        """The benchmark's identity: everything a score depends on, and nothing else."""
        files = {path: asset.sha256 for path, asset in self.assets.items()}
        return sha256_json({"fps": self.fps, "files": files, "cases": [c.to_row() for c in self.cases]})

    def path(self, relative: str) -> Path:
        """Where one of the benchmark's files lies."""
        return inside(self.root, relative)

    def select(self, split: str | None = None, track: str | None = None) -> tuple[Case, ...]:
        """The cases of a split and a track, all of them where none is named."""
        return tuple(c for c in self.cases if split in (None, c.split) and track in (None, c.track))

    def describe(self) -> dict[str, Any]:
        """The content of benchmark.json."""
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


def _benchmark(root: Path, told: dict[str, Any], cases: tuple[Case, ...]) -> Benchmark:
    if told.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {told.get('schema')!r}; this version reads {SCHEMA}")
    if not 1 <= float(told["fps"]) <= 240:
        raise ValueError(f"its rate is {told['fps']} frames a second")
    bench = Benchmark(
        root=root,
        name=str(told["name"]),
        fps=float(told["fps"]),
        clip_seconds=float(told["clip_seconds"]),
        seed=int(told["seed"]),
        assets={
            path: decode(Asset, asset, f"{root / 'benchmark.json'}: {path}") for path, asset in told["assets"].items()
        },
        cases=cases,
        left_out=tuple(LeftOut(**item) for item in told["left_out"]),
        made_by=dict(told["made_by"]),
    )
    if told["sha256"] != bench.sha256:
        raise ValueError("benchmark.json and cases.csv do not belong together (their common hash differs)")
    return bench


def read_cases(root: Path) -> tuple[Case, ...]:
    """The rows of cases.csv."""
    path = root / "cases.csv"
    if not path.is_file():
        raise UserError(f"{root} has no cases.csv; make the benchmark again with exprbench build")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{path}: its columns are {reader.fieldnames}; expected {list(COLUMNS)}")
        cases = tuple(Case.from_row(row) for row in reader)
    ids = [case.case_id for case in cases]
    if len(set(ids)) < len(ids):
        raise UserError(f"{path}: case {next(i for i in ids if ids.count(i) > 1)} is there twice")
    return cases


def dump_cases(cases: Iterable[Case]) -> str:
    """The text of cases.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(case.to_row() for case in cases)
    return text.getvalue()


def check(root: Path | str) -> list[str]:
    """What is wrong with a benchmark, a line each; nothing where it is whole.

    Every file is there, has its hash and opens; every driver has its frames and its faces; every case names files that
    are there and faces that exist.
    """
    bench = Benchmark.open(root)
    problems = [f"{path}: {wrong}" for path, asset in bench.assets.items() for wrong in _wrong_with(bench, path, asset)]
    for case in bench.cases:
        problems += [f"{case.case_id}: {wrong}" for wrong in wrong_with_case(bench, case)]
    known = {*bench.assets, "benchmark.json", "cases.csv"}
    present = (p.relative_to(bench.root).as_posix() for p in sorted(bench.root.rglob("*")) if p.is_file())
    return problems + [f"{path}: not part of the benchmark" for path in present if path not in known]


def _wrong_with(bench: Benchmark, relative: str, asset: Asset) -> list[str]:
    path = bench.path(relative)
    if not path.is_file():
        return ["missing"]
    if sha256_path(path) != asset.sha256:
        return ["changed since the benchmark was made (its hash differs)"]
    try:
        return _wrong_inside(bench, path, asset)
    except ItemError as error:
        return [str(error)]


def _wrong_inside(bench: Benchmark, path: Path, asset: Asset) -> list[str]:
    from exprbench.faces.video_tracks import main_faces, track_faces

    if asset.kind in ("portrait", "first_frame"):
        height, width = read_image(path).shape[:2]
        return [] if (width, height) == (asset.width, asset.height) else [f"is {width}x{height}"]
    if asset.kind == "tracks":
        return []
    with open_clip(path) as clip:
        count = sum(1 for _ in clip)
    wrong = [] if clip.info.fps == bench.fps else [f"runs at {clip.info.fps} frames a second, not {bench.fps}"]
    wrong += [] if count == asset.num_frames else [f"has {count} frames, not {asset.num_frames}"]
    faces = len(main_faces(track_faces(path, fps=bench.fps)))
    return wrong + ([] if faces == asset.num_faces else [f"shows {faces} faces, not {asset.num_faces}"])


def wrong_with_case(bench: Benchmark, case: Case) -> list[str]:
    """What a case names and the benchmark does not have."""
    missing = [path for path in (case.source, *case.drivers) if path not in bench.assets]
    if missing:
        return [f"names {path}, which the benchmark does not list" for path in missing]
    pairs = [pair for pair in case.face_map if pair]
    return [
        f"face {face} of {case.drivers[driver]} does not exist"
        for driver, face in pairs
        if face >= bench.assets[case.drivers[driver]].num_faces
    ]
