import io
import json
import shutil
import tarfile
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest

from exprbench import UserError
from exprbench.faces import FaceTrack, FaceTracks, load_tracks
from exprbench.media import VideoSource, open_clip, open_frames, probe, read_clip
from multiexpr import caption, export, index, select
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.exporting.clips import can_copy, clip_path, copy_stream, export_clip
from multiexpr.exporting.masks import face_masks, load_masks, save_masks
from multiexpr.indexing.stage import load_index
from multiexpr.recipe import load_recipe
from multiexpr.sources import SourceOptions
from multiexpr.storage.workspace import Workspace
from tests.killed import kill_workers_of_first_item
from tests.multiexpr.collection import encode
from tests.multiexpr.made import fill_collection
from tests.videos import numbered, numbers, write

ONE = ExecutionConfig(workers=0)
PLAIN = ["export.tracks=false", "export.masks=false"]
FRAMES = [numbered(i) for i in range(100)]


def kept_workspace(root, out, **listing):
    """Return a workspace that keeps every clip of a collection, with synthetic scores."""
    workspace = Workspace(out)
    fill_collection(workspace, root, **listing)
    select(workspace.root)
    return workspace


def written(tmp_path, path, recipe=None, **span):
    row = {"clip_id": "ab12"}
    facts = export_clip(row, VideoSource(path=str(path), **span), tmp_path / "d", recipe or load_recipe(None, PLAIN))
    frames, info = read_clip(clip_path(tmp_path / "d", "ab12"))
    return facts, numbers(frames) if info.width > info.height else [], info


def test_a_clip_that_fits_the_export_is_copied_packet_by_packet(tmp_path):
    path = encode(tmp_path / "a.mp4", FRAMES)
    facts, found, info = written(tmp_path, path)
    assert facts["copied"]
    assert found == list(range(100))
    assert (info.fps, info.has_audio) == (25, False)
    with open_clip(path) as ours, open_clip(clip_path(tmp_path / "d", "ab12")) as theirs:
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_clip_with_b_frames_is_copied(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)  # x264's B-frames
    facts, found, _ = written(tmp_path, path)
    assert (facts["copied"], facts["num_frames"], facts["duration_s"]) == (True, 100, 4.0)
    assert found == list(range(100))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rate.mp4", {"fps": 30}),
        ("codec.mp4", {"codec": "mpeg4"}),
        ("colours.mp4", {"pix_fmt": "yuv444p"}),
        ("turned.mp4", {"rotation": 90}),
        ("pixels.mp4", {"aspect": Fraction(2, 1)}),
        ("uneven.mkv", {"times_s": [Fraction(i * i, 2500) for i in range(100)]}),
    ],
)
def test_other_clips_are_encoded_at_25_fps(tmp_path, name, options):
    path = write(tmp_path / name, FRAMES, **options)
    facts, _, info = written(tmp_path, path)
    assert not facts["copied"]
    assert (info.codec, info.fps) == ("h264", 25)
    assert facts["duration_s"] == pytest.approx(probe(path).duration_s, abs=0.05)
    with av.open(str(clip_path(tmp_path / "d", "ab12"))) as video:
        assert video.streams.video[0].pix_fmt == "yuv420p"


def test_fps_0_keeps_the_frame_rate(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES[:60], fps=30)
    facts, found, info = written(tmp_path, path, load_recipe(None, [*PLAIN, "export.fps=0"]))
    assert (facts["copied"], info.fps, found) == (True, 30, list(range(60)))


def test_spans_are_copied_from_a_key_frame_and_encoded_from_elsewhere(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream(
            "libx264", rate=25, options={"g": "25", "keyint_min": "25", "bf": "0", "sc_threshold": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for frame in FRAMES:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    copied, found, _ = written(tmp_path, tmp_path / "a.mp4", start_s=1.0, duration_s=2.0)
    assert (copied["copied"], found) == (True, list(range(25, 75)))
    encoded, found, _ = written(tmp_path, tmp_path / "a.mp4", start_s=1.2, duration_s=2.0)
    assert (encoded["copied"], found) == (False, list(range(30, 80)))


def test_the_same_clip_gives_the_same_bytes(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    hashes = {written(tmp_path / name, path)[0]["sha256"] for name in "ab"}
    assert len(hashes) == 1
    assert copy_stream(VideoSource(path=str(path)), tmp_path / "c.mp4")
    assert can_copy(probe(path), load_recipe().export)


def face(centre, radius, count=5, seen=True):
    """Return the track of a round face: landmarks on a disc, in [0, 1] of a 640 x 320 frame."""
    rng = np.random.default_rng(0)
    angles, radii = rng.uniform(0, 2 * np.pi, 478), np.sqrt(rng.uniform(0, 1, 478))
    radii[:60], angles[:60] = 1, np.linspace(0, 2 * np.pi, 60)
    points = np.stack([centre[0] + radius * radii * np.cos(angles), centre[1] + radius * radii * np.sin(angles)], -1)
    landmarks = np.zeros((count, 478, 3), np.float32)
    landmarks[..., :2] = points / (640, 320)
    box = np.tile(np.float32([0, 0, 1, 1]), (count, 1))
    flags = np.full(count, seen)
    flags[-1] = False
    return FaceTrack(seen=flags, box=box, landmarks=landmarks, blendshapes=np.zeros((count, 52), np.float32),
                     pose=np.tile(np.eye(4, dtype=np.float32), (count, 1, 1)))  # fmt: skip


def test_masks_cover_each_face_on_the_encoders_grid(tmp_path):
    tracks = FaceTracks(num_frames=5, width=640, height=320, fps=25, made_by="given",
                        tracks=(face((160, 160), 80), face((480, 100), 40)))  # fmt: skip
    masks = face_masks(tracks)
    assert masks.shape == (2, 5, 40, 80)
    assert masks.dtype == np.uint8
    for person, radius in enumerate((80, 40)):
        area = masks[person, 0].sum() / 255 * 64
        assert area == pytest.approx(np.pi * radius**2, rel=0.03)
    y, x = np.indices(masks.shape[2:])
    weight = masks[0, 0] / masks[0, 0].sum()
    assert ((weight * x).sum() * 8 + 4, (weight * y).sum() * 8 + 4) == pytest.approx((160, 160), abs=1)
    assert not (np.minimum(masks[0], masks[1]) > 0).any()
    assert masks[:, -1].max() == 0
    save_masks(tmp_path / "m.npz", masks)
    assert np.array_equal(load_masks(tmp_path / "m.npz"), masks)


def test_frames_of_odd_sizes_and_faces_beyond_the_border(tmp_path):
    tracks = FaceTracks(num_frames=5, width=645, height=323, fps=25, made_by="given", tracks=(face((0, 0), 100),))
    masks = face_masks(tracks)
    assert masks.shape == (1, 5, 41, 81)
    assert masks[0, 0, 0, 0] == 255


def test_masks_hold_the_pixels_of_the_landmarks():
    """Corners at the centres of pixels 16 and 31, in a frame of 64: the face covers cells 2 and 3 and no other."""
    track = face((32, 32), 8, 2).first(1)
    corners = np.tile([[16.5, 16.5, 0], [31.5, 16.5, 0], [16.5, 31.5, 0], [31.5, 31.5, 0]], (120, 1))[:478] / 64
    track = replace(track, landmarks=corners[None].astype(np.float32))
    masks = face_masks(FaceTracks(num_frames=1, width=64, height=64, fps=25, made_by="given", tracks=(track,)))
    expected = np.zeros((8, 8), np.uint8)
    expected[2:4, 2:4] = 255
    assert np.array_equal(masks[0, 0], expected)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("exported")
    root = folder / "root"
    shutil.copytree(drawn, root)
    write(root / "slow.mp4", FRAMES[:90], fps=30)
    (root / "a.txt").write_text('two people, "talking"\nand more')
    workspace = kept_workspace(root, folder / "out")
    recipe = load_recipe(
        None, [*PLAIN, 'export.formats=["folder", "open-sora", "webdataset"]', "export.tar_bytes=30000"]
    )
    caption(workspace.root, recipe=recipe)
    assert export(workspace.root, recipe=recipe, execution=ONE) == 5
    return workspace


@pytest.fixture
def dataset(exported, tmp_path):
    """A copy of an exported workspace, which the test may change."""
    return Workspace(shutil.copytree(exported.root, tmp_path / "out"))


def test_the_metadata_load_in_one_line(dataset):
    clips = pd.read_parquet(dataset.dataset / "metadata.parquet")
    assert len(clips) == 5
    assert all((dataset.dataset / name).exists() for name in clips["file_name"])
    row = clips.set_index("source_path").loc["a.mp4"]
    assert row["caption"] == 'two people, "talking"\nand more'
    assert (row["num_frames"], row["fps"], row["copied"]) == (50, 25.0, True)
    assert row["score_sharpness"] == 100.0
    assert list(row["score_face_expression"]) == [2.5, 2.2]
    assert not clips.set_index("source_path").loc["slow.mp4"]["copied"]


def test_hugging_face_loads_the_folder(dataset):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "videofolder", data_dir=str(dataset.dataset), split="train", cache_dir=str(dataset.root / "hf")
    )
    loaded = loaded.cast_column("video", datasets.Video(decode=False))
    assert len(loaded) == 5
    assert set(loaded["clip_id"]) == set(pd.read_parquet(dataset.dataset / "metadata.parquet")["clip_id"])
    assert loaded[0]["video"]["path"].endswith(f"{loaded[0]['clip_id']}.mp4")


def test_the_open_sora_manifest(dataset):
    manifest = pd.read_csv(dataset.dataset / "open-sora.csv", keep_default_na=False)
    assert list(manifest.columns) == ["path", "text", "num_frames", "width", "height", "aspect_ratio", "fps", "aes"]
    assert manifest["aspect_ratio"].tolist() == [0.6] * 5
    assert 'two people, "talking"\nand more' in manifest["text"].tolist()
    assert not manifest["path"].str.startswith("/").any()


def test_webdataset_shards_hold_whole_samples(dataset):
    tars = sorted((dataset.dataset / "webdataset").glob("*.tar"))
    assert len(tars) > 1
    names = []
    for path in tars:
        with tarfile.open(path) as tar:
            members = {info.name: tar.extractfile(info).read() for info in tar}
        keys = {name.partition(".")[0] for name in members}
        names += keys
        for key in keys:
            assert json.loads(members[f"{key}.json"])["caption"] == members[f"{key}.txt"].decode()
            assert members[f"{key}.mp4"] == (dataset.dataset / f"clips/{key[:2]}/{key}.mp4").read_bytes()
    assert len(names) == len(set(names)) == 5


def test_exported_webdataset_shards_can_be_curated(dataset, tmp_path):
    summary = index(dataset.dataset / "webdataset", tmp_path / "again", execution=ONE)
    assert summary.num_entries == 5
    assert {row["source"] for row in load_index(Workspace(tmp_path / "again"))} == {"webdataset"}


def test_the_card_has_funnel_recipe_models_and_terms(dataset):
    card = (dataset.dataset / "README.md").read_text()
    assert card.startswith("---\n")
    assert "kept                                   5  100.00 %" in card
    assert "min_expression = 1.1" in card
    assert "AGPL-3.0" in card
    assert "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff" in card


def test_a_stricter_recipe_removes_clips(dataset):
    recipe = load_recipe(None, [*PLAIN, "keep.sharpness.min_effective_px=1000"])
    select(dataset.root, recipe=recipe)
    assert export(dataset.root, recipe=recipe, execution=ONE) == 0
    assert list((dataset.dataset / "clips").glob("*/*")) == []
    assert pd.read_parquet(dataset.dataset / "metadata.parquet").empty


def test_exported_clips_are_not_written_again(dataset):
    recipe = load_recipe(None, PLAIN)
    before = {path: path.stat().st_mtime_ns for path in (dataset.dataset / "clips").glob("*/*")}
    missing = next(iter(before))
    missing.unlink()
    export(dataset.root, recipe=recipe, execution=ONE)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if before[path] != after[path]} == {missing}


def test_a_clip_whose_file_is_missing_is_reported_and_skipped(tmp_path, drawn, capsys):
    shutil.copytree(drawn, tmp_path / "root")
    workspace = kept_workspace(tmp_path / "root", tmp_path / "out")
    (tmp_path / "root/b.mp4").unlink()
    assert export(workspace.root, recipe=load_recipe(None, PLAIN), execution=ONE) == 3
    assert "1 kept clips could not be written (missing_file)" in capsys.readouterr().err


def test_scores_of_the_source_have_their_own_columns(tmp_path, drawn):
    root = tmp_path / "root"
    shutil.copytree(drawn, root / "video")
    table = "video,caption,aesthetic score,camera motion\na.mp4,hi,8.27,pan_left\nb.mp4,,,static\n"
    (root / "OpenVid.csv").write_text(table)
    workspace = kept_workspace(root, tmp_path / "out", options=SourceOptions())
    export(workspace.root, recipe=load_recipe(None, PLAIN), execution=ONE)
    clips = pd.read_parquet(workspace.dataset / "metadata.parquet").set_index("source_key")
    assert clips.loc["a.mp4", "source_aesthetic_score"] == 8.27
    assert np.isnan(clips.loc["b.mp4", "source_aesthetic_score"])
    assert clips.loc["a.mp4", "score_photomotion"] == 7.0
    assert clips.loc["b.mp4", "source_camera_motion"] == "static"


@pytest.mark.shared
@pytest.mark.weights
def test_tracks_and_masks_of_a_clip_with_two_people(tmp_path, shared, needs_weights):
    needs_weights("face_landmarker")
    video = VideoSource(path=str(shared("multi/two_person.mp4")), start_s=0.0, duration_s=1.0)
    facts = export_clip({"clip_id": "ab12"}, video, tmp_path, load_recipe())
    path = clip_path(tmp_path, "ab12")
    tracks = load_tracks(path.with_name("ab12.tracks.npz"))
    masks = load_masks(path.with_name("ab12.masks.npz"))
    assert (facts["num_people"], len(tracks.tracks), tracks.num_frames) == (2, 2, 25)
    assert masks.shape == (2, 25, 90, 160)
    assert tracks.video_sha256 == facts["sha256"]
    assert masks[0, :, :, :80].sum() > 0.99 * masks[0].sum()  # left to right
    from exprbench.faces.video_tracks import track_faces

    assert track_faces(path).video_sha256 == facts["sha256"]  # the exported tracks are read
    with open_frames(path, [0.5]) as frames:
        assert next(iter(frames)).shape == (720, 1280, 3)
    with io.BytesIO((tmp_path / "clips/ab/ab12.masks.npz").read_bytes()) as file:
        assert len(file.getvalue()) < 200_000


def test_clips_whose_processes_were_killed_are_written_by_the_next_run(tmp_path, drawn, monkeypatch):
    workspace = kept_workspace(drawn, tmp_path / "out")
    with monkeypatch.context() as patch:
        kill_workers_of_first_item(patch)
        with pytest.raises(UserError, match="the processes of 1 kept clips were killed from outside"):
            export(workspace.root, recipe=load_recipe(None, PLAIN), execution=ONE)
    assert export(workspace.root, recipe=load_recipe(None, PLAIN), execution=ONE) == 4


def test_shots_of_a_video_whose_processes_were_killed_are_not_guessed(tmp_path, drawn, monkeypatch):
    with monkeypatch.context() as patch:
        kill_workers_of_first_item(patch)
        with pytest.raises(UserError, match=r"a\.mp4: its worker process was ended by SIGKILL.* run the command again"):
            index(drawn, tmp_path / "out", execution=ONE)
    index(drawn, tmp_path / "out", execution=ONE)
    assert len(load_index(Workspace(tmp_path / "out"))) == 4
