"""Noise floors: what a perfect prediction scores, because measuring a video twice gives two results.

For faces it is the distance between the benchmark's videos and a second detection of them in jittered crops; for sets
of features, the distance between the benchmark's videos and their own re-encoding.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from exprbench.benchmark import Case
from exprbench.metrics import COLUMNS
from exprbench.records import Group
from exprbench.scoring.face_floors import FaceFloors, driven_people


def with_floors(
    group: Group, cases: Sequence[Case], of_faces: FaceFloors, of_sets: dict[tuple[str, str], float]
) -> Group:
    """Return a group with the noise floors of its aggregates: means over its cases and their driven faces."""
    own = [case for case in cases if (case.split, case.track) == (group.split, group.track)]
    floors = {name: of_sets.get((group.split, name)) for name in group.aggregates}
    floors |= {name: value for name in group.aggregates if (value := _mean_floor(name, own, of_faces)) is not None}
    aggregates = {name: replace(a, floor=floors[name]) for name, a in group.aggregates.items()}
    return replace(group, aggregates=aggregates)


def _mean_floor(column: str, cases: Sequence[Case], of_faces: FaceFloors) -> float | None:
    """Return the mean over the cases of which all driven people have a floor, None if there is no such case."""
    means = []
    for case in cases:
        people = driven_people(case)
        parts = [people] if COLUMNS[column].over == "people" else [(person,) for person in people]
        values = [of_faces[part][column] for part in parts if column in of_faces.get(part, {})]
        means += [np.mean(values)] if values and len(values) == len(parts) else []
    return float(np.mean(means)) if means else None
