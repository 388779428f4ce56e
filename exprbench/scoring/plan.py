"""What all cases of a run have in common, and what stands in its way."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from exprbench import weights
from exprbench.benchmark import Asset, Benchmark, Case
from exprbench.core.errors import ItemError, UserError, unknown_name
from exprbench.core.files import sha256_path
from exprbench.faces.video_tracks import GIVEN_SUFFIX, tracks_made_by
from exprbench.metrics import EXTRAS, METRICS, PROFILES, metric_ids
from exprbench.metrics.extractors import fid_id, fvd_id
from exprbench.records import MAX_METHOD, is_method_name

Missing = Literal["exclude", "penalty"]
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
LANDMARKER = "face_landmarker"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: which columns, how, on what. Sent to every worker."""

    bench: Benchmark
    predictions: Path
    profile: str
    columns: tuple[str, ...]
    missing: Missing
    device: str
    without: dict[str, str]
    """Model file that is not to be had -> why."""
    networks: dict[str, Any] = field(default_factory=dict)
    """"fid" or "fvd" -> an extractor to use instead of the published network."""

    @cached_property
    def ids(self) -> dict[str, str]:
        """Column -> id, for every column of the profile."""
        own = {}
        if "fid" in self.networks:
            network = self.networks["fid"]
            own |= {"fid": fid_id(network), "fid_video_mean": f"fid[{network.id},video-mean]"}
        if "fvd" in self.networks:
            own["fvd"] = fvd_id(self.networks["fvd"])
        return {**metric_ids(self.profile), **own}

    def weights_of(self, column: str) -> str:
        """Hash of the model file behind a column; empty for a network of the caller's."""
        names = needs(column, self.profile)
        return "" if parent_of(column) in self.networks else weights.get(names[0]).sha256

    def lacks(self, column: str) -> str:
        """Why a column cannot be computed here; empty where it can. Faces are another matter: they may be given."""
        if parent_of(column) in self.networks:
            return ""
        files = [w for w in needs(column, self.profile) if w != LANDMARKER]
        return next((self.without[w] for w in files if w in self.without), "")

    def assets_of(self, case: Case) -> dict[str, Asset]:
        """Everything of the benchmark that a case's score rests on."""
        paths = (case.source, *case.drivers)
        beside = [path.rsplit(".", 1)[0] + GIVEN_SUFFIX for path in paths]
        return {path: self.bench.assets[path] for path in (*paths, *beside) if path in self.bench.assets}

    def tracks_asset(self, driver: str) -> Asset | None:
        """The tracks that come with a driver."""
        return self.bench.assets.get(driver.removesuffix(".mp4") + GIVEN_SUFFIX)

    def faces_from(self) -> str:
        """Where faces come from, on the reference's and the prediction's side: part of the protocol."""
        drivers = {d for case in self.bench.cases for d in case.drivers}
        given = [self.tracks_asset(d) is not None for d in drivers]
        theirs = any(self.predictions.glob(f"*{GIVEN_SUFFIX}"))
        sides = (all(given), theirs) if all(given) or not any(given) else (False, theirs)
        names = ["given" if side else tracks_made_by() for side in sides]
        return names[0] if names[0] == names[1] else f"reference {names[0]}; prediction {names[1]}"


def parent_of(column: str) -> str:
    """The metric a column is, or is an extra of."""
    return EXTRAS[column].parent if column in EXTRAS else column


def needs(column: str, profile: str) -> tuple[str, ...]:
    """Names of the model files a column needs."""
    return METRICS[parent_of(column)].weights[profile]


def choose_columns(wanted: Sequence[str] | None, profile: str) -> tuple[str, ...]:
    """Metrics and extras by name; a metric brings those of its extras that cost little. None means all metrics."""
    if profile not in PROFILES:
        raise unknown_name("profile", profile, list(PROFILES))
    ids = metric_ids(profile)
    for name in wanted or ():
        if name not in ids:
            raise unknown_name("metric", name, list(ids))
    chosen = set(wanted or METRICS)
    cheap = {e.name for e in EXTRAS.values() if e.parent in chosen and not e.on_request}
    return tuple(name for name in ids if name in chosen | cheap)


def check_method(name: str) -> str:
    """A method's name: a line of text, not too long."""
    if not is_method_name(name):
        raise UserError(f"the method's name is {name!r}; expected one line of at most {MAX_METHOD} characters")
    return name.strip()


def file_name_of(method: str) -> str:
    """A file name for a method: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", method).strip("-.") or "method"


def find_prediction(folder: Path, case: Case) -> Path:
    """A case's video file or frame folder.

    Raises:
        ItemError: `missing_file`, or `ambiguous_prediction` where there are two.
    """
    candidates = [folder / f"{case.case_id}{suffix}" for suffix in VIDEO_SUFFIXES]
    found = [path for path in candidates if path.is_file()]
    found += [folder / case.case_id] if (folder / case.case_id).is_dir() else []
    if not found:
        raise ItemError("missing_file", f"{folder} holds neither {case.case_id}.mp4 nor a folder {case.case_id}")
    if len(found) > 1:
        raise ItemError("ambiguous_prediction", f"{folder} holds {' and '.join(p.name for p in found)}; keep one")
    return found[0]


def missing_weights(columns: Sequence[str], profile: str) -> dict[str, str]:
    """Model files the columns need and that are not to be had, each with what to do about it."""
    found = {}
    for name in sorted({w for column in columns for w in needs(column, profile)}):
        try:
            weights.require(name)
        except weights.WeightsError as error:
            found[name] = str(error)
    return found


def verified(bench: Benchmark, relative: str) -> Path:
    """One of the benchmark's files, unchanged since the benchmark was made."""
    path = bench.path(relative)
    if not path.is_file() or sha256_path(path) != bench.assets[relative].sha256:
        raise UserError(f"{path} is not the file the benchmark was made with; nothing was scored (see exprbench check)")
    return path
