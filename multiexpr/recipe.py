"""Recipe: all settings of a curation (measurement, thresholds, captions, export), read from TOML.

`recipe.toml` in this folder holds the defaults and explains every value. Your own recipe needs only the values that
differ.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.files import write_text
from exprbench.core.schema import check_settings, decode, setting

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PATH = Path(__file__).with_name("recipe.toml")


@dataclass(frozen=True, kw_only=True)
class Shots:
    """Cutting of long videos into shots; see `recipe.toml`."""

    cut: Literal["auto", "always", "never"] = "auto"
    longer_than_s: float = 20.0
    max_shot_s: float = setting(10.0, above=0)
    min_shot_s: float = 2.0
    fps: float = setting(25.0, above=0)
    ratio: float = 3.0
    min_change: float = 15.0
    margin_s: float = 0.08


@dataclass(frozen=True, kw_only=True)
class ScorePeople:
    """Parameters of the people detector."""

    model: str = "yolov8n"
    num_frames: int = setting(5, above=0)
    image_size: int = setting(640, above=0)
    confidence: float = 0.25


@dataclass(frozen=True, kw_only=True)
class ScoreDamage:
    """Parameters of the measures of damage."""

    num_frames: int = setting(10, above=0)


@dataclass(frozen=True, kw_only=True)
class ScoreSharpness:
    """Parameters of the measures of sharpness."""

    num_frames: int = setting(5, above=0)
    short_side: int = setting(360, above=0)
    face_side: int = setting(128, above=0)
    percentile: float = 20.0


@dataclass(frozen=True, kw_only=True)
class ScoreAesthetics:
    """Method and parameters of the aesthetic score."""

    method: Literal["auto", "photomotion", "laion", "musiq"] = "auto"
    num_frames: int = setting(5, above=0)
    pair_s: float = 0.12
    clip: str = "clip-vit-large-patch14"


@dataclass(frozen=True, kw_only=True)
class ScoreCuts:
    """Parameters of the detection of cuts inside a clip."""

    fps: float = setting(30.0, above=0)
    long_side: int = setting(256, above=0)
    ratio: float = 3.0


@dataclass(frozen=True, kw_only=True)
class ScoreMotion:
    """Parameters of face tracking."""

    fps: float = setting(12.5, above=0)
    short_side: int = setting(540, above=0)
    engine: Literal["auto", "mediapipe", "openvino", "torch"] = "auto"


@dataclass(frozen=True, kw_only=True)
class ScoreOverlays:
    """Parameters of the measures of overlays."""

    num_frames: int = setting(10, above=0)
    short_side: int = setting(360, above=0)
    text: bool = True


@dataclass(frozen=True, kw_only=True)
class ScoreNsfw:
    """Parameters of the classifier of unsafe pictures."""

    model: str = "nsfw_image_detection"
    num_frames: int = setting(5, above=0)


@dataclass(frozen=True, kw_only=True)
class ScoreSignature:
    """Parameters of the signatures by which copies are found."""

    num_frames: int = setting(8, above=0)
    clip: str = ""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Parameters of all scorers."""

    clip_timeout_s: float = setting(300.0, above=0)
    optional: tuple[Literal["overlays", "nsfw", "signature", "speech"], ...] = ()
    people: ScorePeople = field(default_factory=ScorePeople)
    damage: ScoreDamage = field(default_factory=ScoreDamage)
    sharpness: ScoreSharpness = field(default_factory=ScoreSharpness)
    aesthetics: ScoreAesthetics = field(default_factory=ScoreAesthetics)
    cuts: ScoreCuts = field(default_factory=ScoreCuts)
    motion: ScoreMotion = field(default_factory=ScoreMotion)
    overlays: ScoreOverlays = field(default_factory=ScoreOverlays)
    nsfw: ScoreNsfw = field(default_factory=ScoreNsfw)
    signature: ScoreSignature = field(default_factory=ScoreSignature)


@dataclass(frozen=True, kw_only=True)
class KeepContainer:
    """Thresholds on the file."""

    min_duration_s: float = 2.0
    max_duration_s: float = 30.0
    min_short_side: int = 360
    min_fps: float = 12.0


@dataclass(frozen=True, kw_only=True)
class KeepPeople:
    """Thresholds on detected people; `min_people` applies to faces too."""

    min_people: int = setting(2, above=0)
    max_people: int = 0
    min_confidence: float = 0.5
    min_height: float = 0.25
    min_share: float = 0.8


@dataclass(frozen=True, kw_only=True)
class KeepDamage:
    """Thresholds on damage to whole frames."""

    max_noise: float = 12.7
    max_grain: float = 1.0
    max_blockiness: float = 0.4
    max_posterisation: float = 0.9
    max_combing: float = 0.0005
    max_halos: float = 0.1
    min_source_px: float = 144.0


@dataclass(frozen=True, kw_only=True)
class KeepSharpness:
    """Thresholds on whole frames."""

    min_luma: float = 0.08
    min_contrast: float = 0.25
    min_effective_px: float = 128.0


@dataclass(frozen=True, kw_only=True)
class KeepAesthetics:
    """Thresholds on the aesthetic score, one per method."""

    min_photomotion: float = 4.0
    min_laion: float = 4.5
    min_musiq: float = 50.0


@dataclass(frozen=True, kw_only=True)
class KeepCuts:
    """Thresholds on cuts inside a clip."""

    max_cut: float = 27.0
    max_jump: float = 0.1
    max_gradual: float = 0.5


@dataclass(frozen=True, kw_only=True)
class KeepMotion:
    """Thresholds of the rules on people: a person counts who passes all of them."""

    min_seen: float = 0.8
    min_face_px: float = 64.0
    min_face_effective_px: float = 36.0
    min_expression: float = 1.1
    max_face_clipped: float = 0.33
    max_face_crushed: float = 0.33
    min_face_luma: float = 0.08


@dataclass(frozen=True, kw_only=True)
class KeepOverlays:
    """Thresholds on overlays."""

    max_text: float = 0.004
    max_watermark: float = 0.06
    max_inset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class KeepNsfw:
    """Threshold on unsafe pictures."""

    max_nsfw: float = 0.5


@dataclass(frozen=True, kw_only=True)
class KeepCopies:
    """Largest distances of a copy from a better clip."""

    max_hash_distance: float = 0.1
    max_embedding_distance: float = 0.05


@dataclass(frozen=True, kw_only=True)
class KeepSpeech:
    """Threshold on speech."""

    min_speaking: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Thresholds of all rules."""

    container: KeepContainer = field(default_factory=KeepContainer)
    people: KeepPeople = field(default_factory=KeepPeople)
    damage: KeepDamage = field(default_factory=KeepDamage)
    sharpness: KeepSharpness = field(default_factory=KeepSharpness)
    aesthetics: KeepAesthetics = field(default_factory=KeepAesthetics)
    cuts: KeepCuts = field(default_factory=KeepCuts)
    motion: KeepMotion = field(default_factory=KeepMotion)
    overlays: KeepOverlays = field(default_factory=KeepOverlays)
    nsfw: KeepNsfw = field(default_factory=KeepNsfw)
    copies: KeepCopies = field(default_factory=KeepCopies)
    speech: KeepSpeech = field(default_factory=KeepSpeech)


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Captioning of kept clips."""

    backend: Literal["source", "openai", "cogvlm2", "none"] = "source"
    num_frames: int = setting(8, above=0)
    long_side: int = setting(672, above=0)
    max_tokens: int = setting(400, above=0)
    prompt: str = ""
    model: str = ""
    python: str = ""
    url: str = ""
    concurrency: int = setting(8, above=0)
    attempts: int = setting(4, above=0)
    timeout_s: float = setting(120.0, above=0)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Encoding and formats of the dataset."""

    fps: float = 25.0
    crf: int = 17
    tracks: bool = True
    masks: bool = True
    engine: Literal["auto", "mediapipe", "openvino", "torch"] = "auto"
    formats: tuple[Literal["folder", "open-sora", "webdataset"], ...] = ("folder", "open-sora")
    tar_bytes: int = setting(1_000_000_000, above=0)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a curation."""

    shots: Shots = field(default_factory=Shots)
    score: Score = field(default_factory=Score)
    keep: Keep = field(default_factory=Keep)
    caption: Caption = field(default_factory=Caption)
    export: Export = field(default_factory=Export)


def load_recipe(path: Path | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Return the default recipe, changed by a TOML file and then by `section.key=value` settings.

    Raises:
        UserError: the file is missing or not TOML, a key is unknown, or a value has the wrong type or is out of range.
    """
    recipe = _merge(Recipe(), _parse(DEFAULT_PATH.read_text(encoding="utf-8"), DEFAULT_PATH.name), DEFAULT_PATH.name)
    if path is not None:
        if not path.is_file():
            raise UserError(f"there is no recipe {path}; write the default one with: multiexpr recipe > {path}")
        recipe = _merge(recipe, _parse(path.read_text(encoding="utf-8"), path.name), path.name)
    for change in settings:
        recipe = _merge(recipe, _parse_setting(change), "--set")
    return recipe


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            f"{name} is not TOML ({error}); expected tables and keys as `multiexpr recipe` prints them"
        ) from error


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals:
        raise UserError(f"--set {setting}: expected section.key=value, such as keep.people.min_share=0.6")
    try:
        return tomllib.loads(f"{key}={value}")
    except tomllib.TOMLDecodeError:
        return _parse(f"{key}={value!r}", "--set")  # a string without quotes, as typed in a shell


def _merge(base: Any, changes: dict[str, Any], where: str) -> Any:
    """Return `base` with the values of a nested table; other values stay as they are."""
    known = {f.name: getattr(base, f.name) for f in fields(base)}
    changed = {}
    for key, value in changes.items():
        if key not in known:
            raise UserError(f"{where}: {unknown_name('key', key, list(known))}")
        inner = is_dataclass(known[key])
        if inner and not isinstance(value, dict):
            raise UserError(f"{_key(where, key)} is {value!r}; expected a table")
        changed[key] = _merge(known[key], value, _key(where, key)) if inner else value
    plain = {k: _tuple_to_list(v) for k, v in {**known, **changed}.items() if not is_dataclass(v)}
    checked = decode(type(base), {**{k: {} for k, v in known.items() if is_dataclass(v)}, **plain}, where)
    check_settings(checked, lambda key: _key(where, key), minimum=0)
    return replace(checked, **{k: v for k, v in {**known, **changed}.items() if is_dataclass(v)})


def _key(where: str, key: str) -> str:
    """Return a key as the user wrote it: `recipe.toml.shots.fps`, but `--set shots.fps`."""
    return f"{where} {key}" if where == "--set" else f"{where}.{key}"


def _tuple_to_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as nested dictionaries of plain values, which can be hashed or sent to another process."""
    return asdict(recipe)


def from_dict(values: dict[str, Any]) -> Recipe:
    """Return the recipe of a dictionary made by `as_dict`, also after a round trip through JSON."""
    return _merge(Recipe(), values, "recipe")


def to_toml(recipe: Recipe) -> str:
    """Return the recipe as TOML with all values."""
    return "\n".join(_sections("", as_dict(recipe))).lstrip("\n") + "\n"


def _sections(name: str, table: dict[str, Any]) -> list[str]:
    plain = [f"{key} = {_toml(value)}" for key, value in table.items() if not isinstance(value, dict)]
    lines = ["", f"[{name}]", *plain] if plain else []
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _sections(f"{name}.{key}" if name else key, value)
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def save_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe as TOML, readable by `load_recipe`."""
    write_text(path, to_toml(recipe))


@contextmanager
def recipe_in_use(path: Path, recipe: Recipe) -> Iterator[None]:
    """Write a recipe while a command runs; if the command raises a `UserError`, the file becomes what it was before."""
    before = path.read_text(encoding="utf-8") if path.exists() else None
    save_recipe(path, recipe)
    try:
        yield
    except UserError:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_text(path, before)
        raise
