"""From an input to the files that stand for it in a benchmark."""

from dataclasses import dataclass, replace
from pathlib import Path

from exprbench.benchmark import Asset
from exprbench.building.source_files import Input
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path, write_bytes
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.video_tracks import GIVEN_SUFFIX, given_tracks, main_faces, track_faces, track_image
from exprbench.media import MediaError, open_clip, read_image, write_image, write_video

MIN_CLIP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An input made ready: `main` is the path of its portrait or driver, `assets` all its files."""

    input: Input
    main: str
    assets: dict[str, Asset]

    @property
    def num_faces(self) -> int:
        """Faces found, or told by `sources.csv` where none were found."""
        return self.assets[self.main].num_faces


def prepare(item: Input, root: Path, fps: float, clip_seconds: float) -> Prepared:
    """Write an input's files under `root`.

    Raises:
        ItemError: it cannot be used; the code says why.
    """
    return _portrait(item, root) if item.kind == "portrait" else _driver(item, root, fps, clip_seconds)


def _portrait(item: Input, root: Path) -> Prepared:
    image = read_image(item.path)
    ending = _plain(item.path)
    main = f"portraits/{_prefix(item)}{item.name}{ending or '.png'}"
    path = root / main
    if ending:
        write_bytes(path, item.path.read_bytes())
    else:
        write_image(path, image)
    tracks = given_tracks(item.path) or track_image(path)
    found = len(main_faces(tracks))
    faces = found or item.faces or (1 if item.split == "single" else 0)
    if item.split == "multi" and faces < 2:
        raise ItemError(
            "one_face", f"{found} found; a multi portrait has two or more (sources.csv can tell, column faces)"
        )
    asset = _asset(item, path, image.shape, num_faces=faces, faces_found=found > 0)
    return Prepared(input=item, main=main, assets={main: asset, **_given(item, root, main, tracks)})


def _plain(path: Path) -> str:
    """The ending of a JPEG or PNG file whose pixels all readers see alike; empty for others, which are converted."""
    from PIL import Image

    with Image.open(path) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        if image.mode == "RGB" and upright and getattr(image, "n_frames", 1) == 1:
            return {"JPEG": ".jpg", "PNG": ".png"}.get(image.format or "", "")
    return ""


def _driver(item: Input, root: Path, fps: float, clip_seconds: float) -> Prepared:
    main = f"driving/{_prefix(item)}{item.name}.mp4"
    path = root / main
    first = path.with_suffix(".png")
    num_frames = _normalise(item.path, path, fps, round(clip_seconds * fps))
    with open_clip(path) as clip:
        write_image(first, next(iter(clip)))
    given = given_tracks(item.path)
    tracks = given.first(num_frames) if given else track_faces(path, fps=fps)
    faces = len(main_faces(tracks))
    _refuse(item, tracks, faces, num_frames)
    shape = (clip.info.height, clip.info.width)
    asset = _asset(item, path, shape, num_faces=faces, num_frames=num_frames)
    first_asset = replace(_asset(item, first, shape, num_faces=faces), kind="first_frame")
    return Prepared(
        input=item,
        main=main,
        assets={main: asset, first.relative_to(root).as_posix(): first_asset, **_given(item, root, main, tracks)},
    )


def _normalise(source: Path, path: Path, fps: float, max_frames: int) -> int:
    with open_clip(source, fps=fps, max_frames=max_frames) as clip:
        num_frames = write_video(path, clip, fps=fps)
    if num_frames < MIN_CLIP_S * fps:
        raise MediaError("too_short", f"{num_frames / fps:.2f} s; a driver lasts {MIN_CLIP_S:g} s or more")
    return num_frames


def _refuse(item: Input, tracks: FaceTracks, faces: int, num_frames: int) -> None:
    if tracks.num_frames != num_frames:
        detail = f"{tracks.num_frames} frames of tracks are given for {num_frames} frames of video"
        raise ItemError("tracks_mismatch", detail)
    if not faces:
        raise ItemError("no_face", "no face is seen in half of its frames")
    if item.split == "single" and faces > 1:
        raise ItemError("several_faces", f"{faces} faces; drivers of several people belong into --multi-driving")


def _given(item: Input, root: Path, main: str, tracks: FaceTracks) -> dict[str, Asset]:
    """Tracks that came with the input go with its copy."""
    if not given_tracks(item.path):
        return {}
    path = (root / main).with_suffix("")
    path = path.with_name(path.name + GIVEN_SUFFIX)
    save_tracks(path, replace(tracks, video_sha256=sha256_path(root / main)))
    return {path.relative_to(root).as_posix(): replace(_asset(item, path, (0, 0)), kind="tracks")}


def _prefix(item: Input) -> str:
    return "multi-" if item.split == "multi" else ""


def _asset(item: Input, path: Path, shape: tuple[int, ...], **counts: int) -> Asset:
    return Asset(
        kind=item.kind,
        split=item.split,
        sha256=sha256_path(path),
        num_bytes=path.stat().st_size,
        width=shape[1],
        height=shape[0],
        original=item.path.name,
        source=item.source,
        licence=item.licence,
        person=";".join(item.persons),
        **counts,  # type: ignore[arg-type]
    )
