"""Write the files of one case: the tiled video, the source image, the curves and the landmarks."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError
from exprbench.core.files import write_bytes, write_text
from exprbench.media import read_image
from exprbench.metrics import COLUMNS
from exprbench.report.curves import COLUMNS_OF_CURVES, FaceCurves, case_curves, mean_over_faces
from exprbench.report.tiling import Tile, TiledSettings, shrink, write_tiled
from exprbench.scoring.cases import ResolvedCase, resolve_case
from exprbench.scoring.plan import ScoringPlan, verified
from exprbench.scoring.single_pass import VideoInput

FOLDER = "cases"
JPEG_QUALITY = 85
DIGITS = 4  # significant ones of a value in a curve


@dataclass(frozen=True, kw_only=True)
class ReportedMethod:
    """What the cases need of a record: how it was scored, and the hash of each video; no plan without videos."""

    name: str
    plan: ScoringPlan | None
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CaseWriter:
    """Everything that the cases of a report share."""

    root: Path
    bench: Benchmark
    methods: tuple[ReportedMethod, ...]
    side: int
    crf: int
    landmarks: bool = True


@dataclass(frozen=True, kw_only=True)
class _Screen:
    """One picture of a case: a driver (`method` is None) or a method's video, or a note on why there is none."""

    name: str
    method: int | None = None
    video: VideoInput | None = None
    resolved: ResolvedCase | None = None
    note: str = ""


def write_case(writer: CaseWriter, case: Case) -> dict[tuple[int, str], np.ndarray]:
    """Write the files of a case and return (method, column) -> (T,) errors, averaged over faces.

    Raises:
        UserError: the benchmark has changed since it was built.
    """
    for relative in (case.source, *case.drivers):
        verified(writer.bench, relative)
    settings = _settings(writer, case)
    screens = [*_drivers(writer, case, settings), *(_method(writer, case, i) for i in range(len(writer.methods)))]
    shown = [screen for screen in screens if screen.video]
    tiles = write_tiled(_path(writer, case, ".mp4"), [screen.video for screen in shown], settings)
    _write_source(writer, case)
    curves, notes = _all_curves(screens)
    data = {
        "fps": settings.fps,
        "frames": settings.num_frames,
        "screens": _describe(screens, dict(zip(map(id, shown), tiles, strict=True)), notes),
        "faces": max((len(faces) for faces in curves.values()), default=0),
        "curves": {column: _numbers(column, curves) for column in COLUMNS_OF_CURVES if _has(column, curves)},
    }
    _write_script(writer, case, ".js", "addCase", data)
    if writer.landmarks and curves:
        _write_script(writer, case, ".landmarks.js", "addLandmarks", _landmarks(case, screens, curves))
    return {
        (screens[i].method, column): mean_over_faces(faces, column)
        for i, faces in curves.items()
        for column in (faces[0].errors if faces else ())
    }


def _path(writer: CaseWriter, case: Case, suffix: str) -> Path:
    return writer.root / FOLDER / f"{case.case_id}{suffix}"


def _settings(writer: CaseWriter, case: Case) -> TiledSettings:
    num_frames = min(writer.bench.assets[driver].num_frames for driver in case.drivers)
    return TiledSettings(fps=writer.bench.fps, num_frames=num_frames, side=writer.side, crf=writer.crf)


def _drivers(writer: CaseWriter, case: Case, settings: TiledSettings) -> list[_Screen]:
    paths = list(dict.fromkeys(case.drivers))
    return [
        _Screen(
            name="driver" if len(paths) == 1 else f"driver {i + 1}",
            video=VideoInput(
                path=writer.bench.path(path),
                sha256=writer.bench.assets[path].sha256,
                fps=settings.fps,
                max_frames=settings.num_frames,
                of_benchmark=True,
            ),
        )
        for i, path in enumerate(paths)
    ]


def _method(writer: CaseWriter, case: Case, index: int) -> _Screen:
    method = writer.methods[index]
    if method.plan is None:
        return _Screen(name=method.name, method=index, note="no folder of videos was given")
    try:
        resolved = resolve_case(method.plan, case)
    except ItemError as error:
        return _Screen(name=method.name, method=index, note=str(error))
    scored = method.hashes.get(case.case_id, "")
    changed = scored and scored != resolved.prediction.sha256
    note = "this is not the video that was scored: its hash differs" if changed else ""
    return _Screen(name=method.name, method=index, video=resolved.prediction, resolved=resolved, note=note)


def _write_source(writer: CaseWriter, case: Case) -> None:
    image = read_image(writer.bench.path(case.source))
    scale = min(1.0, writer.side / max(image.shape[:2]))
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    _write_jpeg(_path(writer, case, ".jpg"), shrink(image, Tile(width=width, height=height)))


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    import cv2

    write_bytes(path, cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def _all_curves(screens: Sequence[_Screen]) -> tuple[dict[int, list[FaceCurves]], dict[int, str]]:
    """Return the curves of each screen that has them, and why others do not."""
    curves, notes = {}, {}
    for i, screen in enumerate(screens):
        if screen.resolved is None:
            continue
        try:
            faces = case_curves(screen.resolved)
        except ItemError as error:
            notes[i] = f"no curves: {error}"
            continue
        if faces:
            curves[i] = faces
        notes[i] = _missing_curves(screen.resolved) or ("" if faces else "no curves: no face is driven")
    return curves, notes


def _missing_curves(resolved: ResolvedCase) -> str:
    """Return which curves a case does not have, and why."""
    names: dict[str, list[str]] = {}
    for name, reason in resolved.unscored.items():
        names.setdefault(reason, []).append(COLUMNS[name].title)
    return "; ".join(f"no curves of {', '.join(titles)}: {reason}" for reason, titles in names.items())


def _describe(screens: Sequence[_Screen], tiles: Mapping[int, Tile], notes: Mapping[int, str]) -> list[dict[str, Any]]:
    described = []
    for i, screen in enumerate(screens):
        tile = tiles.get(id(screen))
        texts = (screen.note, tile.error if tile else "", notes.get(i, ""))
        has_frames = tile is not None and tile.num_frames > 0
        described.append(
            {
                "name": screen.name,
                "method": screen.method,
                "tile": [tile.x, tile.y, tile.width, tile.height] if has_frames else None,
                "frames": tile.num_frames if tile else 0,
                "note": "; ".join(dict.fromkeys(text for text in texts if text)),
            }
        )
    return described


def _has(column: str, curves: Mapping[int, Sequence[FaceCurves]]) -> bool:
    return any(column in face.errors for faces in curves.values() for face in faces)


def _numbers(column: str, curves: Mapping[int, Sequence[FaceCurves]]) -> dict[int, list[list[float | None]]]:
    """Return screen -> values of each face, as printed in tables: in the column's unit, null where there is none."""
    scale = COLUMNS[column].table_scale
    return {i: [rounded(face.errors[column] * scale) for face in faces] for i, faces in curves.items()}


def rounded(values: np.ndarray) -> list[float | None]:
    """Return values with four significant digits, None for NaN."""
    known = np.isfinite(values)
    sizes = np.abs(values, where=known & (values != 0), out=np.ones(len(values)))
    places = (DIGITS - 1 - np.floor(np.log10(sizes))).astype(int)
    up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)  # a division by a power is exact
    found = np.round(np.where(known, values, 0) * up / down) / up * down
    return [value if is_known else None for value, is_known in zip(found.tolist(), known.tolist(), strict=True)]


def _landmarks(case: Case, screens: Sequence[_Screen], curves: Mapping[int, Sequence[FaceCurves]]) -> dict[str, Any]:
    """Return screen -> landmarks of each face as base64 of little-endian uint16 (frame, point, x or y)."""
    found: dict[int, list[np.ndarray]] = {i: [face.predicted for face in faces] for i, faces in curves.items()}
    paths = list(dict.fromkeys(case.drivers))
    driver_of = [paths.index(case.drivers[pair[0]]) for pair in case.face_map if pair]
    longest = max(curves.values(), key=lambda faces: len(faces[0].reference))
    for driver in range(sum(screen.method is None for screen in screens)):
        found[driver] = [f.reference for f, of in zip(longest, driver_of, strict=True) if of == driver]
    encoded = {i: [base64.b64encode(a.astype("<u2").tobytes()).decode() for a in arrays] for i, arrays in found.items()}
    return {"points": longest[0].reference.shape[1], "screens": encoded}


def _write_script(writer: CaseWriter, case: Case, suffix: str, function: str, data: Mapping[str, Any]) -> None:
    """Write data as a classic script, the only way to load data into a page that was opened from disk."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    write_text(_path(writer, case, suffix), f'ExprBenchReport.{function}("{case.case_id}", {text});\n')
