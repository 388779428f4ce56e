"""Curate sets of labelled clips and compare the verdicts with the labels.

`python -m tests.multiexpr.labelled SET FOLDER` makes a set in FOLDER, scores it, and prints precision, recall and every
wrong verdict.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import multiexpr
from multiexpr.execution.executors import ExecutionConfig
from tests.conftest import SHARED
from tests.multiexpr import edit_variants, people_variants, unseen_variants, variants

TOOL = SHARED / "tools/curation_set.py"
VARIANTS = {"variants": variants, "unseen": unseen_variants, "edits": edit_variants, "people": people_variants}
STAGES = {  # a label, its value for a fault, and the rules that look for the fault
    "people": (0, ("few_people", "many_people")),
    "sharp": (0, ("enlarged", "blurred", "blurred_faces", "small_faces")),
    "quality": (0, ("noisy", "grainy", "blocky", "posterised", "interlaced", "oversharpened", "dark",
                    "low_contrast", "unaesthetic", "burnt_out_faces", "crushed_faces", "dark_faces")),
    "cut": (1, ("cut", "jump_cut", "gradual_cut")),
    "expressive": (0, ("inexpressive",)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of verdicts with labels: what was found and is so, what was found and is not, and what was missed."""

    right: set[str]
    wrong: set[str]
    missed: set[str]

    @property
    def precision(self) -> float:
        """Return the share of the found clips that are right."""
        return len(self.right) / max(len(self.right | self.wrong), 1)

    @property
    def recall(self) -> float:
        """Return the share of the clips to find that were found."""
        return len(self.right) / max(len(self.right | self.missed), 1)

    def __str__(self) -> str:
        counts = f"{len(self.right)} right, wrong: {sorted(self.wrong)}, missed: {sorted(self.missed)}"
        return f"precision {self.precision:.3f}, recall {self.recall:.3f}; {counts}"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Labels, verdicts and photomotion scores of a set of clips, by name."""

    labels: dict[str, dict[str, Any]]
    verdicts: dict[str, dict[str, Any]]
    photomotion: dict[str, float]

    def kept(self) -> Agreement:
        """Return the agreement on which clips are kept."""
        found = {name for name, row in self.verdicts.items() if row["outcome"] == "kept"}
        return self._agreement(found, "keep", 1)

    def stage(self, label: str) -> Agreement:
        """Return the agreement on which clips have the fault of a stage.

        All rules are judged on all clips, whichever of them is the reason: `reasons` names every fault.
        """
        faulty, rules = STAGES[label]
        found = {name for name, row in self.verdicts.items() if set(row["reasons"]) & set(rules)}
        return self._agreement(found, label, faulty)

    def _agreement(self, found: set[str], label: str, value: int) -> Agreement:
        judged = {name for name, labels in self.labels.items() if labels[label] is not None}
        expected = {name for name in judged if self.labels[name][label] == value}
        return Agreement(right=found & expected, wrong=(found & judged) - expected, missed=expected - found)


def make(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Write the clips of a set, `tool` or one of `VARIANTS`, and return their labels by clip."""
    if name != "tool":
        return VARIANTS[name].make(folder)
    subprocess.run([sys.executable, str(TOOL), str(folder)], check=True, capture_output=True)
    return json.loads((folder / "labels.json").read_text())


def curate(name: str, folder: Path) -> Labelled:
    """Make and score a set of clips, with all scorers on all clips."""
    labels, out = make(name, folder / "clips"), folder / "out"
    recipe = multiexpr.load_recipe(settings=["score.aesthetics.method=photomotion", "shots.cut=never"])
    execution = ExecutionConfig(workers=2, devices=("cpu",))
    multiexpr.index(folder / "clips", out, recipe=recipe, execution=execution)
    multiexpr.score(out, recipe=recipe, score_all=True, execution=execution)
    multiexpr.select(out, recipe=recipe)
    names = {row["clip_id"]: row["key"].removesuffix(".mp4") for row in pq.read_table(out / "index").to_pylist()}
    scores = pq.read_table(out / "scores/photomotion", columns=["clip_id", "photomotion"]).to_pylist()
    return Labelled(
        labels=labels,
        verdicts={names[row["clip_id"]]: row for row in pq.read_table(out / "verdicts.parquet").to_pylist()},
        photomotion={names[row["clip_id"]]: row["photomotion"] for row in scores},
    )


if __name__ == "__main__":
    labelled = curate(sys.argv[1], Path(sys.argv[2]))
    print("kept      ", labelled.kept())
    for stage in STAGES:
        print(f"{stage:10}", labelled.stage(stage))
    for clip in sorted(labelled.kept().wrong | labelled.kept().missed):
        print(f"{clip:24}", labelled.verdicts[clip]["outcome"], labelled.verdicts[clip]["reasons"])
