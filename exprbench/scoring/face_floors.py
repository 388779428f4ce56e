"""Noise floors of faces: between the benchmark's videos and a second detection of them in jittered crops."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.cache import cached, pack_json, read_entry
from exprbench.core.errors import ItemError
from exprbench.core.processes import process_map
from exprbench.faces import FaceTracks
from exprbench.faces.video_tracks import given_path, main_faces
from exprbench.metrics import COLUMNS
from exprbench.metrics.face_errors import face_errors, required_readers
from exprbench.metrics.face_pair import FacePair, mean_seen
from exprbench.metrics.metric import LANDMARKER
from exprbench.scoring.cases import driver_input
from exprbench.scoring.computations import face_readings, tracks_computation
from exprbench.scoring.jittered import jittered_tracks
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.single_pass import VideoInput, single_pass

VERSION = "floors-2"  # increase it when a change of the code changes these floors

Driven = tuple[tuple[str, int], ...]  # driver and face of each driven person of a case
FaceFloors = dict[Driven, dict[str, float]]  # people -> column -> floor


def driven_people(case: Case) -> Driven:
    """Return the driver and its face for each driven person of a case."""
    return tuple((case.drivers[pair[0]], pair[1]) for pair in case.face_map if pair)


def face_floors(plan: ScoringPlan, cases: Sequence[Case], workers: int) -> FaceFloors:
    """Return the floors of each driven person, and of the people of each case for columns of several people.

    People of a driver with given tracks have none, since nothing can be detected again; nor do those of a driver that
    fails.
    """
    of_face, of_people = _columns(plan, "face"), _columns(plan, "people")
    if LANDMARKER in plan.without or not of_face + of_people:
        return {}
    groups = dict.fromkeys(driven_people(case) for case in cases)
    single = dict.fromkeys((person,) for group in groups for person in group)
    wanted = [(people, of_face) for people in single if of_face]
    wanted += [(people, of_people) for people in groups if of_people and len(people) > 1]
    detected = [(people, columns) for people, columns in wanted if not any(_is_given(plan, d) for d, _ in people)]
    known = {item: json.loads(body) for item in detected if (body := read_entry("floors", _key(plan, *item)))}
    missing = [item for item in detected if item not in known]
    work = process_map(partial(_people_floors, plan), missing, workers=workers, label="floors", unit="face")
    found = known | {item: floors for item, floors in work if not isinstance(floors, ItemError)}
    return {people: floors for (people, _), floors in found.items()}


def _columns(plan: ScoringPlan, over: str) -> tuple[str, ...]:
    """Return the available columns of single faces (`face`), or of several people (`people`)."""
    metrics = [COLUMNS[name] for name in plan.columns if COLUMNS[name].kind == "face"]
    chosen = [m for m in metrics if (m.over == "people") == (over == "people")]
    return tuple(m.name for m in chosen if not plan.unavailable_reason(m))


def _is_given(plan: ScoringPlan, driver: str) -> bool:
    return given_path(plan.bench.path(driver)).is_file()


def _key(plan: ScoringPlan, people: Driven, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "people": [[tracks_computation("", driver_input(plan, driver)).key, face] for driver, face in people],
        "columns": {name: plan.ids[name] for name in columns},
        "weights": {name: plan.weight_hashes(COLUMNS[name]) for name in columns},
        "device": plan.device,
    }


def _people_floors(plan: ScoringPlan, item: tuple[Driven, tuple[str, ...]]) -> dict[str, float]:
    measure = partial(_measure, plan, *item)
    return cached("floors", _key(plan, *item), measure, pack_json, json.loads)


def _measure(plan: ScoringPlan, people: Driven, columns: Sequence[str]) -> dict[str, float]:
    pairs = [_pair(plan, columns, driver, face) for driver, face in people]
    if len(people) > 1:
        values = {name: COLUMNS[name].function(COLUMNS[name].compute)(pairs) for name in columns}
    else:
        values = {name: mean_seen(errors) for name, errors in face_errors(pairs[0], columns).items()}
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def _pair(plan: ScoringPlan, columns: Sequence[str], driver: str, face: int) -> FacePair:
    """Return a driver's face with the second detection of it as the prediction."""
    video = driver_input(plan, driver)
    tracks = single_pass([tracks_computation("tracks", video)])["tracks"]
    main = main_faces(tracks)[face]
    index = next(i for i, track in enumerate(tracks.tracks) if track is main)
    first, second = (_detection(plan, video, tracks, part).tracks[index] for part in (0, 1))
    of_driver, of_source = required_readers(columns, plan.profile)
    own = face_readings(plan, of_driver, video, first, plan.jitters)
    again = face_readings(plan, of_driver + of_source, video, second, range(plan.looks, 2 * plan.looks))
    return FacePair(
        reference=first,
        predicted=second,
        reference_size=tracks.size,
        predicted_size=tracks.size,
        profile=plan.profile,
        readings=(own, again),
        source=face_readings(plan, of_source, replace(video, max_frames=1), first.first(1), plan.jitters),
    )


def _detection(plan: ScoringPlan, video: VideoInput, tracks: FaceTracks, part: int) -> FaceTracks:
    """Return what scoring uses (part 0), or as many detections again in the crops of other jitters (part 1)."""
    if part == 0 and plan.looks == 1:
        return tracks
    return jittered_tracks(video, tracks, range(part * plan.looks, (part + 1) * plan.looks))
