"""`build_report`: check the inputs, write the files of every case, the first page and the figures."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from exprbench.benchmark import Benchmark, Case, case_problems
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import atomic_folder, write_bytes, write_text
from exprbench.core.locks import sole_writer
from exprbench.core.processes import WorkerKilled, num_cores, process_map
from exprbench.core.schema import check_settings, setting
from exprbench.leaderboard.rows import make_table
from exprbench.leaderboard.verification import load_verified
from exprbench.records import ScoreRecord
from exprbench.report.case_files import FOLDER, CaseWriter, ReportedMethod, write_case
from exprbench.report.curves import COLUMNS_OF_CURVES
from exprbench.report.figures import write_figures
from exprbench.report.page_data import Curves, method_labels, page_data, page_html
from exprbench.scoring.plan import ScoringPlan, method_file_name, missing_weights

PAGE = Path(__file__).parent / "page"
PAGE_SUFFIXES = (".css", ".js")
DATA = "report_data.js"  # its presence marks a folder as a report, which a later one may replace
FIGURES = "figures"


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Settings of a report; see `exprbench report --help`."""

    title: str = setting("ExprBench report", "title of the page")
    tile: int = setting(256, "longer side of a video in pixels", minimum=32)
    crf: int = setting(23, "quality of the videos (x264's CRF; lower is better)", minimum=0)
    figures: bool = setting(False, "whether to write figures as PDF and PNG")
    landmarks: bool = setting(True, "whether to write landmarks")
    extras: bool = setting(False, "all further columns of the records")
    mix: bool = setting(False, "records of different protocols in one table, marked")
    common: bool = setting(False, "means over the cases that all records have")


@dataclass(frozen=True, kw_only=True)
class BuiltReport:
    """A built report.

    Attributes:
        page: the page to open.
        num_cases: number of cases with videos.
        left_out: case id -> why it has no videos.
        num_bytes: size of the folder.
    """

    page: Path
    num_cases: int
    left_out: dict[str, str]
    num_bytes: int


def build_report(
    records: Sequence[ScoreRecord | Path | str],
    *,
    out: Path | str,
    benchmark: Path | str | None = None,
    predictions: Mapping[str, Path | str] | Path | str | None = None,
    settings: ReportSettings | None = None,
    workers: int | None = None,
) -> BuiltReport:
    """Write a report of records as a static folder, which a browser opens from disk, without a server or a network.

    Tiled videos and values of frames are cached by content, so that a second report takes seconds.

    Args:
        records: records, or paths of their files.
        out: folder to create; an earlier report in it is replaced.
        benchmark: benchmark folder of the records; without it there are no videos.
        predictions: method -> folder of its videos; or a folder that holds one for each method, named like the files of
            `exprbench demo`, with dashes for what is not a letter or digit.
        settings: see `ReportSettings`.
        workers: number of processes; 0 runs everything in this process; None uses all cores.

    Raises:
        UserError: an option is out of range, `out` is not a report, records cannot be in one table, or the benchmark is
            not theirs.
    """
    settings, root = settings or ReportSettings(), Path(out)
    check_settings(settings, lambda name: f"--{name}")
    loaded = [load_verified(record) for record in records]
    table = make_table(loaded, mix=settings.mix, extras=settings.extras, common=settings.common)
    bench = Benchmark.open(benchmark) if benchmark else None
    folders = _folders(predictions, loaded)
    _check(root, loaded, bench, folders)
    with sole_writer(root), atomic_folder(root) as new:
        curves, left_out = _write_cases(_writer(new, loaded, bench, folders, settings), workers)
        figures = write_figures(new / FIGURES, loaded, table) if settings.figures else []
        data = page_data(loaded, table, bench, curves, figures)
        _write_page(new, data, page_html((PAGE / "index.html").read_text(encoding="utf-8"), settings.title, table))
        shutil.rmtree(root, ignore_errors=True)
    num_bytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return BuiltReport(page=root / "index.html", num_cases=len(curves), left_out=left_out, num_bytes=num_bytes)


def _folders(
    predictions: Mapping[str, Path | str] | Path | str | None, records: Sequence[ScoreRecord]
) -> dict[str, Path]:
    if predictions is None or isinstance(predictions, Mapping):
        return {name: Path(folder) for name, folder in (predictions or {}).items()}
    named = {record.method: Path(predictions) / method_file_name(record.method) for record in records}
    found = {method: folder for method, folder in named.items() if folder.is_dir()}
    if not found:
        wanted = ", ".join(folder.name for folder in named.values())
        raise UserError(f"{predictions} holds no folder of a method; expected {wanted}, or METHOD=DIR for each method")
    return found


def _check(root: Path, records: Sequence[ScoreRecord], bench: Benchmark | None, folders: Mapping[str, Path]) -> None:
    if root.exists() and not (root / DATA).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is not a report; choose another folder with --out")
    if folders and bench is None:
        raise UserError("--predictions needs the benchmark of the videos; give it with --benchmark")
    names = [record.method for record in records]
    for name, folder in folders.items():
        if name not in names:
            raise UserError(f"--predictions names {name!r}, but the records are of {', '.join(map(repr, names))}")
        if not folder.is_dir():
            raise UserError(
                f"--predictions {name}={folder}: not a folder; expected one video per case, {{case_id}}.mp4"
            )
    for record in records if bench else ():
        if record.benchmark.sha256 != bench.sha256:
            raise UserError(
                f"the record of {record.method!r} is of benchmark {record.benchmark.sha256[:16]}, not of {bench.root} "
                f"({bench.sha256[:16]}); give the benchmark that was scored"
            )
    for case in bench.cases if bench else ():
        for problem in case_problems(bench, case):
            raise UserError(f"{bench.root}: {case.case_id} {problem}")


def _writer(
    root: Path,
    records: Sequence[ScoreRecord],
    bench: Benchmark | None,
    folders: Mapping[str, Path],
    settings: ReportSettings,
) -> tuple[CaseWriter, list[Case]] | None:
    """Return what writes the files of the cases, and the cases of the records; None without a benchmark."""
    if bench is None:
        return None
    labels = method_labels(records)
    methods = [_method(bench, record, name, folders) for record, name in zip(records, labels, strict=True)]
    scored = {case.case_id for record in records for case in record.cases}
    writer = CaseWriter(
        root=root,
        bench=bench,
        methods=tuple(methods),
        side=settings.tile,
        crf=settings.crf,
        landmarks=settings.landmarks,
    )
    return writer, [case for case in bench.cases if case.case_id in scored]


def _method(bench: Benchmark, record: ScoreRecord, name: str, folders: Mapping[str, Path]) -> ReportedMethod:
    if record.method not in folders:
        return ReportedMethod(name=name, plan=None)
    plan = ScoringPlan(
        bench=bench,
        predictions=folders[record.method],
        profile=record.profile,
        columns=COLUMNS_OF_CURVES,
        missing="exclude",
        pairing=record.protocol.get("pairing", "time"),  # type: ignore[arg-type]
        device=_device(record),
        without=missing_weights(COLUMNS_OF_CURVES, record.profile),
        looks=_looks(record),
    )
    return ReportedMethod(name=name, plan=plan, hashes={c.case_id: c.prediction_sha256 for c in record.cases})


def _device(record: ScoreRecord) -> str:
    """Return the device of the record, under which its readings are cached, or `cpu` if this machine has no GPU."""
    if record.device == "cpu" or record.profile == "mediapipe":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _looks(record: ScoreRecord) -> int:
    """Return the number of crops over which faces were averaged, as the ids of face columns name it."""
    found = [re.search(r",looks(\d+)\]$", record.ids.get(name, "")) for name in COLUMNS_OF_CURVES]
    return next((int(match[1]) for match in found if match), 1)


def _write_cases(job: tuple[CaseWriter, list[Case]] | None, workers: int | None) -> tuple[Curves, dict[str, str]]:
    """Write the files of all cases; return the curves of those that have files, and why others have none."""
    if job is None:
        return {}, {}
    writer, cases = job
    (writer.root / FOLDER).mkdir()
    curves, left_out = {}, {}
    count = num_cores() if workers is None else workers
    for case, result in process_map(partial(write_case, writer), cases, workers=count, label="report", unit="case"):
        if isinstance(result, WorkerKilled):
            raise result.as_user_error(case.case_id)
        if isinstance(result, ItemError):
            left_out[case.case_id] = str(result)
        else:
            curves[case.case_id] = result
    return curves, left_out


def _write_page(root: Path, data: Mapping[str, object], page: str) -> None:
    write_text(root / "index.html", page)
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    write_text(root / DATA, f"window.ExprBenchData = {text};\n")
    for path in sorted(PAGE.iterdir()):
        if path.suffix in PAGE_SUFFIXES:
            write_bytes(root / path.name, path.read_bytes())
