"""Prepare an input file: normalise it, detect its faces and write the benchmark's copy."""

from dataclasses import dataclass, replace
from itertools import chain, islice
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
    """A prepared input: `main` is the path of its portrait or driver, `assets` holds all its files by path."""

    input: Input
    main: str
    assets: dict[str, Asset]

    @property
    def num_faces(self) -> int:
        """Return the number of faces: detected, or from `sources.csv` if none were detected."""
        return self.assets[self.main].num_faces


def prepare(item: Input, root: Path, fps: float, clip_seconds: float) -> Prepared:
    """Write an input's files under `root`.

    Raises:
        ItemError: the input cannot be used; the code says why.
    """
    return _portrait(item, root) if item.kind == "portrait" else _driver(item, root, fps, clip_seconds)


def _portrait(item: Input, root: Path) -> Prepared:
    image = read_image(item.path)
    suffix = _lossless_copy_suffix(item.path)
    main = f"portraits/{_prefix(item)}{item.name}{suffix or '.png'}"
    path = root / main
    if suffix:
        write_bytes(path, item.path.read_bytes())
    else:
        write_image(path, image)
    tracks = given_tracks(item.path) or track_image(path)
    num_detected = len(main_faces(tracks))
    num_faces = num_detected or item.faces or (1 if item.split == "single" else 0)
    if item.split == "multi" and num_faces < 2:
        detail = f"{num_detected} found; a multi portrait has two or more (see the column faces of sources.csv)"
        raise ItemError("one_face", detail)
    asset = _asset(item, path, image.shape, num_faces=num_faces, faces_found=num_detected > 0)
    return Prepared(input=item, main=main, assets={main: asset, **_copy_given_tracks(item, root, main, tracks)})


def _lossless_copy_suffix(path: Path) -> str:
    """Return the suffix of a JPEG or PNG file that all readers decode to the same pixels; empty for other files."""
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
    num_frames = _write_clip(item, path, fps, round(clip_seconds * fps))
    with open_clip(path) as clip:
        write_image(first, next(iter(clip)))
    given = given_tracks(item.path)
    if given and item.start_s:
        raise ItemError("tracks_mismatch", "tracks are given for the whole video, but start_s skips its beginning")
    tracks = given.first(num_frames) if given else track_faces(path, fps=fps)
    num_faces = len(main_faces(tracks))
    _check_driver(item, tracks, num_faces, num_frames)
    shape = (clip.info.height, clip.info.width)
    asset = _asset(item, path, shape, num_faces=num_faces, num_frames=num_frames)
    first_asset = replace(_asset(item, first, shape, num_faces=num_faces), kind="first_frame")
    assets = {main: asset, first.relative_to(root).as_posix(): first_asset}
    return Prepared(input=item, main=main, assets={**assets, **_copy_given_tracks(item, root, main, tracks)})


def _write_clip(item: Input, path: Path, fps: float, max_frames: int) -> int:
    skipped = round(item.start_s * fps)
    with open_clip(item.path, fps=fps, max_frames=skipped + max_frames) as clip:
        frames = islice(clip, skipped, None)
        first = next(frames, None)
        if first is None:
            raise MediaError("too_short", f"it ends before its start_s of {item.start_s:g} s")
        num_frames = write_video(path, chain([first], frames), fps=fps)
    if num_frames < MIN_CLIP_S * fps:
        raise MediaError("too_short", f"{num_frames / fps:.2f} s; a driver lasts {MIN_CLIP_S:g} s or more")
    return num_frames


def _check_driver(item: Input, tracks: FaceTracks, num_faces: int, num_frames: int) -> None:
    if tracks.num_frames != num_frames:
        detail = f"{tracks.num_frames} frames of tracks are given for {num_frames} frames of video"
        raise ItemError("tracks_mismatch", detail)
    if not num_faces:
        raise ItemError("no_face", "no face is seen in half of its frames")
    if item.split == "single" and num_faces > 1:
        raise ItemError("several_faces", f"{num_faces} faces; drivers of several people belong into --multi-driving")


def _copy_given_tracks(item: Input, root: Path, main: str, tracks: FaceTracks) -> dict[str, Asset]:
    """Write the tracks that were given with the input next to its copy; return their asset."""
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
        url=item.url,
        author=item.author,
        start_s=item.start_s,
        original_sha256=sha256_path(item.path),
        original_bytes=item.path.stat().st_size,
        **counts,  # type: ignore[arg-type]
    )
