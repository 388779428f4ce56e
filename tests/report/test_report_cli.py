"""The command `exprbench report`."""

from exprbench.cli import main
from tests.report.conftest import METHODS, case_data


def test_a_report_is_written_and_its_page_is_printed(scored, tmp_path, capsys):
    folders = [word for method in METHODS for word in ("-p", f"{method}={scored.predictions[method]}")]
    options = ["--benchmark", scored.bench.root, *folders, "--out", tmp_path / "r", "--workers", "0", "--title", "T"]
    assert main(["report", *map(str, scored.records), *map(str, options)]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'r' / 'index.html'}: videos of 4 cases, ")
    assert "<title>T</title>" in (tmp_path / "r" / "index.html").read_text()


def test_a_method_that_is_named_twice_is_one_line(scored, tmp_path, capsys):
    words = ["report", str(scored.records[0]), "--out", str(tmp_path / "r"), "-p", "a=x", "-p", "a=y"]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "error: --predictions names a method twice; give every method one name and one folder\n"
    )


def test_one_folder_can_hold_the_videos_of_all_methods(scored, tmp_path, capsys):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "exact").symlink_to(scored.predictions["exact"])
    (tmp_path / "all" / "moved-script-alert-1-script").symlink_to(scored.predictions[METHODS[1]])
    options = ["--benchmark", scored.bench.root, "-p", tmp_path / "all", "--out", tmp_path / "r", "--workers", "0"]
    assert main(["report", *map(str, scored.records), *map(str, options)]) == 0
    screens = case_data(tmp_path / "r", "single-self-0001")["screens"]
    assert [bool(screen["tile"]) for screen in screens] == [True, True, True, False]
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    options[3] = tmp_path / "empty"
    assert main(["report", *map(str, scored.records), *map(str, options)]) == 2
    assert "holds no folder of a method; expected exact, moved-script-alert-1-script, short" in capsys.readouterr().err
