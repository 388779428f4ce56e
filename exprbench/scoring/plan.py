"""The plan of a run: the columns to compute, their settings, and reasons for those that cannot be computed."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from exprbench import weights
from exprbench.benchmark import Asset, Benchmark, Case
from exprbench.core.errors import UserError, unknown_name
from exprbench.core.files import sha256_path
from exprbench.faces.video_tracks import GIVEN_SUFFIX, given_path, tracks_made_by
from exprbench.metrics import COLUMNS, EXTRAS, METRICS, PROFILES, Metric, metric_ids
from exprbench.metrics.extractors import fid_id, fvd_id
from exprbench.metrics.metric import LANDMARKER
from exprbench.records import MAX_METHOD, is_method_name
from exprbench.scoring.prediction_files import find_prediction
from exprbench.scoring.single_pass import benchmark_changed

Missing = Literal["exclude", "penalty"]
Pairing = Literal["time", "index"]


@dataclass(frozen=True, kw_only=True)
class ScoringPlan:
    """The settings that all cases of a run share; sent to every worker.

    Attributes:
        missing: treatment of a reference face that a predicted frame does not show.
        pairing: whether frames of a prediction and its reference are paired by time or by number.
        without: required model file that is unavailable -> reason.
        networks: `fid` or `fvd` -> extractor used instead of the published network.
        looks: number of jittered crops over which landmarks, gaze, expression and pose are averaged.
        names: case id -> name of its prediction's file, for cases whose file has another name than the case.
    """

    bench: Benchmark
    predictions: Path
    profile: str
    columns: tuple[str, ...]
    missing: Missing
    pairing: Pairing
    device: str
    without: dict[str, str]
    networks: dict[str, Any] = field(default_factory=dict)
    looks: int = 1
    names: dict[str, str] = field(default_factory=dict)

    @cached_property
    def ids(self) -> dict[str, str]:
        """Return column -> id for every column of the profile."""
        custom = {}
        if "fid" in self.networks:
            network = self.networks["fid"]
            custom |= {"fid": fid_id(network), "fid_video_mean": f"fid[{network.id},video-mean]"}
            custom["kid"] = f"kid[{network.id},poly3,unbiased]"
        if "fvd" in self.networks:
            custom["fvd"] = fvd_id(self.networks["fvd"])
        ids = {**metric_ids(self.profile), **custom}
        return {name: self._with_looks(name, metric_id) for name, metric_id in ids.items()}

    def _with_looks(self, name: str, metric_id: str) -> str:
        """Return the id of a column, which names the number of crops of faces if there are several."""
        averaged = self.looks > 1 and COLUMNS[name].kind == "face"
        return f"{metric_id.removesuffix(']')},looks{self.looks}]" if averaged else metric_id

    @property
    def jitters(self) -> range:
        """Return the jitters of the crops that are averaged; none if each face is measured once, in a plain crop."""
        return range(self.looks) if self.looks > 1 else range(0)

    def columns_on(self, track: str) -> list[Metric]:
        """Return the columns that are defined on a track, in the registry's order."""
        return [m for m in COLUMNS.values() if m.name in self.columns and track in m.defined_on]

    def unavailable_reason(self, metric: Metric) -> str:
        """Return the reason why a column cannot be computed, empty if it can.

        A missing landmarker is not a reason: tracks can be given, so `resolve_case` checks it for each case.
        """
        if metric.parent in self.networks:
            is_defined = self.ids[metric.name] != metric.ids[self.profile]
            return "" if is_defined else f"not defined for the network {self.networks[metric.parent].id}"
        files = [name for name in metric.weights[self.profile] if name != LANDMARKER]
        return next((self.without[name] for name in files if name in self.without), "")

    def weight_hashes(self, metric: Metric) -> dict[str, str]:
        """Return model file -> SHA-256 of the files behind a column, empty for a custom network."""
        names = () if metric.parent in self.networks else metric.weights[self.profile]
        return {name: weights.get(name).sha256 for name in names if name not in self.without}

    def prediction(self, case: Case) -> Path:
        """Return a case's video file or frame folder.

        Raises:
            ItemError: `missing_file`, or `ambiguous_prediction` if there are two.
        """
        return find_prediction(self.predictions, case, self.names)

    def case_assets(self, case: Case) -> dict[str, Asset]:
        """Return the files of the benchmark that a case's score depends on."""
        paths = (case.source, *case.drivers)
        names = (*paths, *map(_name_of_tracks, paths))
        return {name: self.bench.assets[name] for name in names if name in self.bench.assets}

    def face_sources(self) -> str:
        """Return the origin of the face tracks of references and predictions; part of the protocol."""
        drivers = {d for case in self.bench.cases for d in case.drivers}
        of_drivers = all(_name_of_tracks(driver) in self.bench.assets for driver in drivers)
        of_predictions = any(self.predictions.glob(f"*{GIVEN_SUFFIX}"))
        names = ["given" if side else tracks_made_by() for side in (of_drivers, of_predictions)]
        return names[0] if names[0] == names[1] else f"reference {names[0]}; prediction {names[1]}"


def _name_of_tracks(path: str) -> str:
    """Return the name that given tracks of a benchmark's file would have."""
    return path.rsplit(".", 1)[0] + GIVEN_SUFFIX


def metric_names(names: Sequence[str] | str, profile: str) -> tuple[str, ...]:
    """Return names of columns as they are in the registry, in the order given.

    Args:
        names: names in any case, as a sequence or separated by commas; an id such as `lmd[mp478,unit,center]` is the
            name before its bracket.
        profile: profile whose columns are known.

    Raises:
        UserError: an unknown profile or column, or one that the profile does not have.
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, list(PROFILES))
    parts = re.sub(r"\[[^\]]*\]", "", names).split(",") if isinstance(names, str) else names
    return tuple(dict.fromkeys(_metric_name(str(part), profile) for part in parts if str(part).strip()))


def _metric_name(text: str, profile: str) -> str:
    name, ids = text.strip().partition("[")[0].lower().replace("-", "_"), metric_ids(profile)
    if name in COLUMNS and name not in ids:
        others = " and ".join(other for other in PROFILES if other in COLUMNS[name].ids)
        raise UserError(f"the metric {name!r} is not defined for the profile {profile}, only for {others}")
    if name not in ids:
        raise unknown_name("metric", text.strip(), list(ids))
    return name


def choose_columns(names: Sequence[str] | str | None, profile: str) -> tuple[str, ...]:
    """Return the columns to compute: those named, with variants that need no other network; None means all metrics."""
    chosen = set(metric_names(names or [m.name for m in METRICS.values() if not m.on_request], profile))
    files = {file for name in chosen for file in COLUMNS[name].weights[profile]}
    cheap = {
        extra.name
        for extra in EXTRAS.values()
        if extra.parent in chosen and not extra.on_request and files >= set(extra.weights[profile])
    }
    return tuple(name for name in metric_ids(profile) if name in chosen | cheap)


def missing_weights(columns: Sequence[str], profile: str) -> dict[str, str]:
    """Return required but unavailable model files, mapped to instructions for obtaining them."""
    instructions = {}
    for name in sorted({name for column in columns for name in COLUMNS[column].weights[profile]}):
        try:
            weights.require(name)
            weights.require_package(name)
        except weights.WeightsError as error:
            instructions[name] = str(error)
    return instructions


def torch_device(requested: str, columns: Sequence[str], profile: str, networks: Container[str] = ()) -> str:
    """Return `cpu` or `cuda`; torch is imported only if a published network is going to run.

    Raises:
        UserError: an unknown device, or `cuda` without a GPU.
    """
    if requested not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device is {requested!r}; expected auto, cpu or cuda")
    metrics = (COLUMNS[column] for column in columns if COLUMNS[column].parent not in networks)
    files = {name for metric in metrics for name in metric.weights[profile]} - {LANDMARKER}
    if requested == "cpu" or not any(weights.locate(name) for name in files):
        return "cpu"
    import torch

    if requested == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch finds no GPU; use --device cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_method(name: str) -> str:
    """Return the method's name without surrounding space.

    Raises:
        UserError: it is empty, too long or not one line of printable text.
    """
    if not is_method_name(name):
        raise UserError(f"the method's name is {name!r}; expected one line of at most {MAX_METHOD} characters")
    return name.strip()


def method_file_name(method: str) -> str:
    """Return a file name for a method: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", method).strip("-.") or "method"


def verified(bench: Benchmark, relative: str) -> Path:
    """Return the path of one of the benchmark's files, after checking its hash.

    Raises:
        UserError: it is missing or has changed since the benchmark was built.
    """
    path = bench.path(relative)
    if not path.is_file() or sha256_path(path) != bench.assets[relative].sha256:
        raise benchmark_changed(path)
    return path


def verify_files(plan: ScoringPlan, cases: Sequence[Case]) -> None:
    """Check the hash of every file that the cases depend on, and that no unlisted face tracks would be used.

    Raises:
        UserError: a file is missing, has changed, or is not part of the benchmark.
    """
    for relative in sorted({path for case in cases for path in plan.case_assets(case)}):
        verified(plan.bench, relative)
    known = {plan.bench.path(relative) for relative in plan.bench.assets}
    for relative in sorted({path for case in cases for path in (case.source, *case.drivers)}):
        tracks = given_path(plan.bench.path(relative))
        if tracks.is_file() and tracks not in known:
            raise UserError(f"{tracks} is not part of the benchmark; remove it (see exprbench check)")
