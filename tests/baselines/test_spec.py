"""What is wrong with a `method.toml` is named, with what was expected."""

import pytest

from baselines.spec import find_method, load_method, method_folders
from exprbench.core.errors import UserError

GOOD = """
name = "Mine"
licence = "MIT"
python = "3.10"
steps = [{ run = ["{python}", "run.py", "{source}", "{driver}", "{out}/video.mp4"] }]

[output]
find = ["{out}/video.mp4"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence", "license", "license"),
        ("{driver}", "{diver}", "did you mean 'driver'"),
        ('python = "3.10"', 'python = "3.10"\nid = "mine"', "sets 'id', which is the folder's own"),
        ('python = "3.10"', 'python = "3.10"\nrepo = "https://a.b/c"', "repo and a commit of 40 hexadecimal digits"),
        ('python = "3.10"', 'python = "3.10"\nstatus = { ours = "wroking" }', "did you mean 'working'"),
        ("[output]", "[output]\npanels = 2\npanel = 2", "output.panel is 2; expected 0 to 1"),
        ("[output]", "[output]\ncrop_panel = 1", "output.crop_panel is 1; expected -1 to 0"),
        ("[output]", '[output]\nframes = "sampled"', "needs output.fps above 0"),
        ("] }]", '], only = "multi" }]', "has no step for a single face"),
        ("name =", "name ==", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, message):
    (tmp_path / "method.toml").write_text(GOOD)
    assert load_method(tmp_path).name == "Mine"
    (tmp_path / "method.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_method(tmp_path)


def test_a_folder_without_a_specification_is_no_method(tmp_path):
    with pytest.raises(UserError, match=r"is not a method: it has no method\.toml"):
        load_method(tmp_path)


def test_an_installed_package_brings_methods(tmp_path, monkeypatch):
    info, folder = tmp_path / "zoo-1.0.dist-info", tmp_path / "zoo_methods" / "mine"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[exprbench.baselines]\nzoo = zoo_methods\n")
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "method.toml").write_text(GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_method("mine").folder == folder
    assert "liveportrait" in method_folders()
    for wrong in ("missing_package", "json.decoder"):  # a module is no folder
        (info / "entry_points.txt").write_text(f"[exprbench.baselines]\nzoo = {wrong}\n")
        with pytest.raises(UserError, match=f"the methods of the entry point zoo = {wrong} cannot be loaded"):
            method_folders()
