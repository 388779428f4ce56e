import numpy as np

from exprbench.media import write_video
from fantasyportrait.watermark import add_watermark, build_generation_metadata, read_generation_metadata
from tests.videos import numbered


def test_metadata_record_how_a_video_was_generated(tmp_path):
    record = {"checkpoint": "x sha256:12", "seed": 7, "options": {"steps": 3}}
    write_video(tmp_path / "a.mp4", [numbered(0)], metadata=build_generation_metadata(record))
    metadata = read_generation_metadata(tmp_path / "a.mp4")
    assert {key: metadata[key] for key in record} == record
    assert metadata["generated"] is True
    assert metadata["digital_source_type"] == "trainedAlgorithmicMedia"


def test_other_files_have_no_generation_metadata(tmp_path):
    write_video(tmp_path / "a.mp4", [numbered(0)])
    write_video(tmp_path / "b.mp4", [numbered(0)], metadata={"comment": '{"seed": 1}'})
    write_video(tmp_path / "c.mp4", [numbered(0)], metadata={"comment": "hello"})
    (tmp_path / "d.mp4").write_bytes(b"no video")
    assert [read_generation_metadata(tmp_path / f"{name}.mp4") for name in "abcd"] == [None] * 4


def test_the_watermark_changes_only_the_corner_and_fits_small_images():
    for height, width in ((240, 320), (32, 48), (720, 480)):
        frame = np.full((height, width, 3), 120, np.uint8)
        (marked,) = add_watermark([frame])
        assert marked.shape == frame.shape
        assert (frame == 120).all()
        changed = (marked != frame).any(-1)
        assert changed[-1, -1]
        assert marked.max() > 200
        assert width < 100 or not changed[: height // 2, : width // 4].any()
