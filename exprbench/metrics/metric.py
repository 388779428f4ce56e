"""The description of a column: what a number means, what it is computed from, and how a table prints it."""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from exprbench.metrics.clip_grid import ClipGrid

PROFILES = ("mediapipe", "paper")
SELF, CROSS = "self", "cross"
LANDMARKER = "face_landmarker"
INCEPTION = "inception2015,clean299,pool3"

Kind = Literal["set", "pixel", "face"]


@dataclass(frozen=True, kw_only=True)
class FrameStream:
    """Features of single frames.

    Attributes:
        load: function of the stream and a device that returns the network, as `module:function`; see `extractors`.
        resize: how frames are brought to the network's size.
    """

    load: str
    resize: str


@dataclass(frozen=True, kw_only=True)
class ClipStream:
    """Features of clips.

    Attributes:
        load: as for `FrameStream`.
        grid: how videos are cut into clips.
    """

    load: str
    grid: ClipGrid


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column of a table.

    Attributes:
        name: the name in records and on the command line.
        parent: the metric of the paper's Table 1 that this is computed along with; its own name if it is one of them.
        title: column heading.
        meaning: one line for tables and reports.
        kind: what the number is computed from: `pixel` compares a frame with its reference, `face` a face with its
            reference, `set` the features of all videos with those of all references.
        per: `case` for a mean over videos, `group` for one number per split and track.
        compute: the function, as `module:function` in `exprbench.metrics`. For `pixel`, from the per-frame results of
            `measure` to a number. For `face`, from a `FacePair` to (T,) values, averaged over the frames that have
            one, or to a single number. For `set`, from the features of two sets to a distance.
        measure: for `pixel`, the function of two frames that gives a per-frame result.
        stream: for `set`, the features.
        ids: profile -> id, for the profiles that have the column.
        weights: profile -> model files (names in `exprbench.weights`).
        tracks: tracks on which Table 1 shows it. `defined_on`: tracks on which it has a meaning.
        higher_is_better, unit, table_scale, decimals: how a table prints and ranks it.
        worst: profile -> value of a missing face under `--missing penalty`.
        over: for `face`, what a value depends on: a single frame (`frame`), the whole track of a face (`video`), or the
            tracks of all faces of a case (`people`; `compute` then takes the `FacePair` of every face).
        on_request: computed only if asked for by name, because it costs further passes through a network.
    """

    name: str
    parent: str = ""
    title: str
    meaning: str
    kind: Kind
    per: Literal["case", "group"] = "case"
    compute: str
    measure: str = ""
    stream: FrameStream | ClipStream | None = None
    ids: dict[str, str]
    weights: dict[str, tuple[str, ...]] = field(default_factory=lambda: both(()))
    tracks: tuple[str, ...] = ()
    defined_on: tuple[str, ...]
    higher_is_better: bool = False
    unit: str = ""
    table_scale: float = 1.0
    decimals: int = 2
    worst: dict[str, float] = field(default_factory=dict)
    over: Literal["frame", "video", "people"] = "frame"
    on_request: bool = False

    @property
    def is_extra(self) -> bool:
        """Return whether this is a variant rather than a column of the paper's Table 1."""
        return self.parent != self.name

    def function(self, path: str) -> Any:
        """Import `module:function` of `exprbench.metrics`."""
        module, _, name = path.partition(":")
        return getattr(import_module(f"exprbench.metrics.{module}"), name)


def both(value: Any) -> dict[str, Any]:
    """Return the same value for both profiles."""
    return dict.fromkeys(PROFILES, value)


def each(mediapipe: Any, paper: Any) -> dict[str, Any]:
    """Return a value per profile."""
    return {"mediapipe": mediapipe, "paper": paper}
