"""Input folders: files, names and `sources.csv`."""

import pytest

from exprbench import UserError, build
from exprbench.building.source_files import list_inputs, safe_name


def test_file_names_become_safe_and_unique(tmp_path):
    names = ["plain", "with space", "semi;colon", "../up", "żółw", "plain"]
    taken = set()
    for name in names:
        safe = safe_name(tmp_path / f"{name}.mp4", taken)
        assert safe not in taken
        assert not set(safe) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        taken.add(safe)
    assert "plain" in taken


def test_only_media_files_are_listed_in_the_order_of_their_names(tmp_path):
    for name in ("b.mp4", "a.mp4", ".hidden.mp4", "notes.txt", "a.tracks.npz", "sources.csv"):
        (tmp_path / name).write_text("file\n")
    (tmp_path / "folder").mkdir()
    assert [i.path.name for i in list_inputs(tmp_path, "driver", "single")] == ["a.mp4", "b.mp4"]


def test_sources_and_licences_are_recorded(folders, tmp_path):
    (folders["driving"] / "sources.csv").write_text(
        "file,source,licence,person\ndee.mp4,https://example.org/1,CC0,Dee D.\n", encoding="utf-8-sig"
    )
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    asset = bench.assets["driving/dee.mp4"]
    assert (asset.source, asset.licence, asset.person) == ("https://example.org/1", "CC0", "Dee D.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,license\n", "did you mean 'licence'"),
        ("source\n", "no column 'file'"),
        ("file\ngone.mp4\n", "gone.mp4"),
        ("file,faces\ndee.mp4,two\n", "expected a number"),
    ],
)
def test_an_invalid_sources_file_is_a_user_error(folders, tmp_path, text, message):
    (folders["driving"] / "sources.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        build(**folders, out=tmp_path / "bench", workers=0)
    assert not (tmp_path / "bench").exists()


def test_files_are_listed_in_the_order_of_their_names_on_any_disk(tmp_path):
    names = [f"{name}.mp4" for name in ("m", "b", "z", "a", "k", "c", "y", "d", "x", "e")]
    for name in names:
        (tmp_path / name).touch()
    for name in ("NOTES.TXT", "Tracks.NPZ", "about.html"):
        (tmp_path / name).touch()
    assert [i.path.name for i in list_inputs(tmp_path, "driver", "single")] == sorted(names)


def test_people_are_named_by_the_sources_file_or_by_the_file_name(tmp_path):
    for name in ("a.b.mp4", "two.mp4", "plain.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "sources.csv").write_text("file,person,faces\ntwo.mp4,Ada ; Bo,12\nplain.mp4,,\n")
    found = {i.name: (i.persons, i.faces, i.source) for i in list_inputs(tmp_path, "driver", "multi")}
    assert found == {"a.b": (("a.b",), None, ""), "plain": (("plain",), None, ""), "two": (("Ada", "Bo"), 12, "")}


@pytest.mark.parametrize("faces", ["123", "-1", "1.5", "\u0663"])
def test_the_number_of_faces_has_one_or_two_digits(tmp_path, faces):
    (tmp_path / "a.png").touch()
    (tmp_path / "sources.csv").write_text(f"file,faces\na.png,{faces}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.png has .* faces; expected a number"):
        list(list_inputs(tmp_path, "portrait", "single"))


def test_long_and_equal_names_become_short_and_unique(tmp_path):
    long = safe_name(tmp_path / f"{'x' * 200}.mp4", set())
    assert len(long) < 100
    assert long != safe_name(tmp_path / f"{'x' * 201}.mp4", set())
    assert safe_name(tmp_path / "a.mp4", {"a"}) not in ("a", safe_name(tmp_path / "a.mkv", {"a"}))


def test_a_missing_folder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="gone is not a folder"):
        list(list_inputs(tmp_path / "gone", "driver", "single"))


@pytest.mark.parametrize(("text", "seconds"), [("", 0.0), (" 12.5 ", 12.5), ("0", 0.0)])
def test_the_start_of_a_driver_is_read(tmp_path, text, seconds):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "sources.csv").write_text(f"file,start_s,author,url\na.mp4,{text},Ada,https://example.org/a.mp4\n")
    (item,) = list_inputs(tmp_path, "driver", "single")
    assert (item.start_s, item.author, item.url) == (seconds, "Ada", "https://example.org/a.mp4")


@pytest.mark.parametrize(
    ("text", "kind"), [("-1", "driver"), ("nan", "driver"), ("999999", "driver"), ("2", "portrait")]
)
def test_a_start_that_makes_no_sense_is_refused(tmp_path, text, kind):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "sources.csv").write_text(f"file,start_s\na.mp4,{text}\n")
    with pytest.raises(UserError, match=r"a\.mp4 .*has start_s|a\.mp4 is an image and has start_s"):
        list(list_inputs(tmp_path, kind, "single"))
