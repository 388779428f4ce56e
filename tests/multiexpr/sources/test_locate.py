import os
import zipfile

import pytest

from exprbench.media import MediaError, probe
from multiexpr.sources.locate import ClipError, check_unchanged, video_source
from tests.multiexpr.sources.test_sources import copy, first_number, listed, row_of


def test_a_changed_or_missing_file_is_an_error(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    row = row_of(listed(tmp_path)[1]["a.mp4"])
    check_unchanged(row, tmp_path)
    os.utime(tmp_path / "a.mp4", ns=(1, 1))
    with pytest.raises(ClipError, match="source_changed"):
        check_unchanged(row, tmp_path)
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(Exception, match="missing_file"):
        check_unchanged(row, tmp_path)


def test_an_archive_that_changed_after_listing_is_an_error(tmp_path, drawn):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(drawn / "a.mp4", "a.mp4")
    row = row_of(listed(tmp_path)[1]["a.zip/a.mp4"])
    assert probe(video_source(row, tmp_path)).num_frames == 50
    (tmp_path / "a.zip").write_bytes(b"\0" * (tmp_path / "a.zip").stat().st_size)
    with pytest.raises(Exception, match="open_failed"):
        video_source(row, tmp_path)


def test_a_file_of_another_size_and_the_same_time_is_noticed(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    os.utime(tmp_path / "a.mp4", ns=(5, 5))
    row = row_of(listed(tmp_path)[1]["a.mp4"])
    with (tmp_path / "a.mp4").open("ab") as file:
        file.write(b"more")
    os.utime(tmp_path / "a.mp4", ns=(5, 5))
    with pytest.raises(ClipError, match="source_changed"):
        check_unchanged(row, tmp_path)


def test_a_row_that_was_noted_as_missing_is_missing_though_a_file_is_there(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="missing_file"):
        check_unchanged(row_of(listed(tmp_path)[1]["a.mp4"], problem="missing_file"), tmp_path)


def zipped(path, drawn, names="a", parts=0, **options):
    """A zip of drawn videos; with `parts`, cut into that many pieces."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name in names:
            info = zipfile.ZipInfo(f"{name}.mp4", (2024, 1, 1, 0, 0, 0))
            info.extra = b"\x99\x99\x05\x00extra"  # a field zip tools may add, before the data
            info.compress_type = archive.compression
            archive.writestr(info, (drawn / f"{name}.mp4").read_bytes())
    whole = path.read_bytes()
    for i in range(parts):
        size = -(-len(whole) // parts)
        path.with_name(f"{path.name}.{i + 1:03d}").write_bytes(whole[i * size : (i + 1) * size])
    if parts:
        path.unlink()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("parts", [0, 3])
def test_videos_are_read_out_of_any_zip_and_from_any_second(tmp_path, drawn, method, parts):
    zipped(tmp_path / "z.zip", drawn, "ab", parts, compression=method)
    _, entries, problems = listed(tmp_path, "folder")
    assert not problems
    assert [first_number(entry, tmp_path) for entry in entries.values()] == [97, 98]
    assert [first_number(entry, tmp_path, start_s=1.0) for entry in entries.values()] == [97 + 25, 98 + 25]


def test_every_part_of_a_cut_archive_is_watched(tmp_path, drawn):
    zipped(tmp_path / "z.zip", drawn, parts=3)
    row = row_of(listed(tmp_path, "folder")[1]["z.zip.001/a.mp4"])
    check_unchanged(row, tmp_path)
    os.utime(tmp_path / "z.zip.003", ns=(1, 1))
    with pytest.raises(ClipError, match="source_changed"):
        check_unchanged(row, tmp_path)
    (tmp_path / "z.zip.002").unlink()
    for read_it in (check_unchanged, video_source):
        with pytest.raises(MediaError, match="missing_file"):
            read_it(row, tmp_path)


def test_a_single_file_that_is_named_like_a_part_is_no_archive(tmp_path, drawn):
    zipped(tmp_path / "z.zip", drawn, parts=1)
    copy(drawn, tmp_path / "talk.001.mp4", tmp_path / "talk.002.mp4")
    assert set(listed(tmp_path, "folder")[1]) == {"talk.001.mp4", "talk.002.mp4"}


def test_members_of_an_archive_have_stamps_of_their_own(tmp_path, drawn):
    zipped(tmp_path / "z.zip", drawn, "ab")
    stamps = [entry.location.stamp for entry in listed(tmp_path, "folder")[1].values()]
    assert len(set(stamps)) == 2
    assert len({stamp.partition("@")[0] for stamp in stamps}) == 1


def test_an_encrypted_member_is_a_problem(tmp_path, drawn):
    zipped(tmp_path / "z.zip", drawn)
    data = bytearray((tmp_path / "z.zip").read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags in both headers of the member
        data[data.index(signature) + at] |= 1
    (tmp_path / "z.zip").write_bytes(data)
    assert listed(tmp_path, "folder")[2] == {("unreadable", "z.zip/a.mp4")}
