"""Collections and datasets on object storage, against a local S3 server."""

import pytest

import multiexpr
from exprbench import UserError
from exprbench.core.errors import ItemError
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.exporting.stage import EXPORTED
from multiexpr.exporting.upload import upload_clips, upload_metadata
from multiexpr.indexing.stage import load_index
from multiexpr.models.detector import find_people_model
from multiexpr.recipe import load_recipe
from multiexpr.sources.locate import ClipError
from multiexpr.sources.remote import is_url, local_files, make_outline
from multiexpr.storage.parquet import read_rows, shard_path, write_rows

fsspec = pytest.importorskip("fsspec")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

ONE = ExecutionConfig(workers=1, devices=("cpu",))
PLAIN = ["export.tracks=false", "export.masks=false"]


@pytest.fixture(scope="module")
def endpoint():
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint, monkeypatch):
    """A file system with an empty bucket `videos`."""
    names = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": endpoint,
             "AWS_DEFAULT_REGION": "us-east-1", "no_proxy": "*"}  # fmt: skip
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of other tests, with other endpoints
    storage = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    storage.mkdir("videos")
    yield storage
    storage.rm("videos", recursive=True)


@pytest.fixture
def uploaded(s3, drawn):
    """Four videos, two of them in a folder, and a caption."""
    for name in "abcd":
        folder = "videos/raw/" if name in "ab" else "videos/raw/more/"
        s3.put_file(str(drawn / f"{name}.mp4"), f"{folder}{name}.mp4")
    s3.pipe_file("videos/raw/a.txt", b"a caption")
    return s3


@pytest.mark.parametrize(
    ("place", "expected"), [("s3://b/c", True), ("gs://b", True), ("file:///a", False), ("/a//b", False), ("a", False)]
)
def test_urls_of_object_storage_are_recognized(place, expected):
    assert is_url(place) == expected


def test_an_outline_holds_sizes_and_captions_but_no_videos(uploaded, drawn, tmp_path):
    assert make_outline("s3://videos/raw", tmp_path) == 0
    sizes = {path.relative_to(tmp_path).as_posix(): path.stat().st_size for path in tmp_path.rglob("*.mp4")}
    assert sizes == {
        name: (drawn / name.removeprefix("more/")).stat().st_size
        for name in ("a.mp4", "b.mp4", "more/c.mp4", "more/d.mp4")
    }
    assert (tmp_path / "a.txt").read_text() == "a caption"
    assert (tmp_path / "a.mp4").read_bytes()[100:] == bytes(sizes["a.mp4"] - 100)


def test_an_outline_follows_the_storage(uploaded, drawn, tmp_path):
    make_outline("s3://videos/raw", tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    uploaded.rm_file("videos/raw/b.mp4")
    uploaded.rm("videos/raw/more", recursive=True)
    uploaded.put_file(str(drawn / "b.mp4"), "videos/raw/a.mp4")
    uploaded.pipe_file("videos/raw/e.zip", b"an archive")
    assert make_outline("s3://videos/raw", tmp_path) == 1
    assert [path.name for path in tmp_path.rglob("*.mp4")] == ["a.mp4"]
    assert (tmp_path / "a.mp4").stat().st_mtime_ns != times["a.mp4"]


def test_a_video_is_downloaded_for_a_task_and_removed_after_it(uploaded, drawn, tmp_path):
    make_outline("s3://videos/raw", tmp_path)
    with local_files({"path": "more/c.mp4"}, tmp_path) as root:
        assert (root / "more/c.mp4").read_bytes() == (drawn / "c.mp4").read_bytes()
    assert not root.exists()


@pytest.mark.parametrize(("change", "code"), [("remove", "missing_file"), ("replace", "source_changed")])
def test_a_video_that_changed_on_the_storage_is_an_error(uploaded, drawn, tmp_path, change, code):
    make_outline("s3://videos/raw", tmp_path)
    uploaded.rm_file("videos/raw/a.mp4")
    if change == "replace":
        uploaded.put_file(str(drawn / "b.mp4"), "videos/raw/a.mp4")
    with pytest.raises(ItemError) as caught, local_files({"path": "a.mp4"}, tmp_path):
        pass
    assert caught.value.code == code


def test_a_storage_that_fails_in_a_download_is_an_error_of_the_clip(uploaded, tmp_path, monkeypatch):
    make_outline("s3://videos/raw", tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(ClipError) as caught, local_files({"path": "a.mp4"}, tmp_path):
        pass
    assert caught.value.code == "download_failed"
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("url", ["s3://videos/nothing", "s3://absent/raw", "unknown://videos/raw"])
def test_a_place_that_cannot_be_listed_is_one_line(s3, workspace, url):
    with pytest.raises(UserError, match=url) as caught:
        multiexpr.index(url, workspace.root, execution=ONE)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.weights
def test_a_collection_on_s3_has_the_clips_of_the_same_local_one(uploaded, drawn, workspace, needs_weights):
    needs_weights("face_landmarker")
    try:
        find_people_model("yolov8n")
    except UserError:
        pytest.skip("needs a YOLOv8n model in EXPRBENCH_WEIGHTS")
    multiexpr.index("s3://videos/raw", workspace.root, execution=ONE)
    rows = load_index(workspace)
    assert [row["key"] for row in rows] == ["a.mp4", "b.mp4", "more/c.mp4", "more/d.mp4"]
    assert rows[0]["caption"] == "a caption"
    assert multiexpr.score(workspace.root, execution=ONE) == 4
    scores = read_rows(shard_path(workspace.scores("container"), 0))
    assert {row["state"] for row in scores} == {"scored"}
    assert {row["num_frames"] for row in scores} == {50}
    assert multiexpr.score(workspace.root, execution=ONE) == 0
    uploaded.put_file(str(drawn / "d.mp4"), "videos/raw/b.mp4")  # now the same as more/d.mp4
    multiexpr.index("s3://videos/raw", workspace.root, execution=ONE)
    kinds = [row["kind"] for row in read_rows(workspace.mismatches)]
    assert kinds == ["duplicate"]


def test_the_dataset_is_copied_to_s3(uploaded, workspace):
    s3, url = uploaded, "s3://videos/dataset"
    recipe = load_recipe(None, PLAIN)
    clips = workspace.dataset / "clips/ab"
    clips.mkdir(parents=True)
    (clips / "abc.mp4").write_bytes(b"a clip")
    (workspace.dataset / "README.md").write_text("a card")
    (workspace.dataset / "metadata.parquet").write_bytes(b"rows")
    write_rows(shard_path(workspace.exported, 0), [{"clip_id": "abc", "error": ""}], EXPORTED)
    s3.pipe_file("videos/dataset/clips/zz/old.mp4", b"of a previous recipe")
    upload_clips(workspace, recipe, url, ONE)
    upload_metadata(workspace, url)
    files = {path.removeprefix("videos/dataset/"): s3.cat_file(path) for path in s3.find("videos/dataset")}
    assert files == {"README.md": b"a card", "clips/ab/abc.mp4": b"a clip", "metadata.parquet": b"rows"}
    (clips / "abc.mp4").unlink()
    upload_clips(workspace, recipe, url, ONE)  # nothing is uploaded twice
    assert s3.cat_file("videos/dataset/clips/ab/abc.mp4") == b"a clip"


def test_an_upload_that_fails_is_one_line_and_is_tried_again(s3, workspace, capsys):
    (workspace.dataset / "clips/ab").mkdir(parents=True)
    (workspace.dataset / "clips/ab/abc.mp4").write_bytes(b"a clip")
    write_rows(shard_path(workspace.exported, 0), [{"clip_id": "abc", "error": ""}], EXPORTED)
    for _ in range(2):
        with pytest.raises(UserError, match="1 shards were not uploaded to s3://absent/dataset; check endpoint"):
            upload_clips(workspace, load_recipe(), "s3://absent/dataset", ONE)
        assert "upload: 1 clips failed, the first one with: " in capsys.readouterr().err
