"""Arguments that the command line passes on; the verbs themselves are tested as functions."""

import json

import pytest

import multiexpr
from exprbench.core.cli_base import TOO_MANY_FAILED
from exprbench.core.errors import UserError
from multiexpr import cli, curation
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import DEFAULT_PATH, Recipe, load_recipe, save_recipe
from multiexpr.selection.thresholds import Proposal
from multiexpr.selection.verdicts import Funnel
from multiexpr.sources import SourceOptions
from tests.multiexpr.made import fill, good
from tests.videos import noise, write

FUNNEL = Funnel(num_clips=10, num_kept=7)
FUNNEL.reached["short"], FUNNEL.dropped["short"], FUNNEL.errors["timeout"] = 9, 1, 2


@pytest.fixture
def called(monkeypatch, tmp_path):
    """`called("score", "out", ...)`: the arguments the verb's function is called with, and its status."""
    calls = []
    answers = {"curate": FUNNEL, "select": FUNNEL, "caption": {"clips": 3, "errors": 1}, "export": 1234}

    def record(name):
        def call(*args, **options):
            calls.append((args, options))
            return answers.get(name)

        return call

    for name in ("curate", "index", "score", "select", "caption", "export", "report", "why"):
        monkeypatch.setattr(multiexpr, name, record(name))
    monkeypatch.setattr(multiexpr, "unfinished", lambda *_args, **_options: [])
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status = cli.main(list(words))
        return calls.pop(), status

    return run


@pytest.mark.parametrize(
    ("words", "stages"),
    [(["curate", "videos", "--out", "out"], ("score", "caption", "export")), (["score", "out"], ("score",))],
)
def test_work_that_is_left_is_a_status_and_a_line(called, monkeypatch, capsys, words, stages):
    asked = []
    monkeypatch.setattr(multiexpr, "unfinished", lambda out, *, stages: asked.append(stages) or ["score: 2 shards"])
    assert called(*words)[1] == TOO_MANY_FAILED
    assert asked == [stages]
    assert capsys.readouterr().err == "score: 2 shards\n"


def given(called, *words):
    return called(*words)[0][1]


def test_a_plain_curate_leaves_everything_to_its_defaults(called):
    (args, options), status = called("curate", "videos", "--out", "out")
    assert [str(path) for path in args] == ["videos", "out"]
    assert options == {"recipe": None, "execution": ExecutionConfig(), "score_all": False, "retry_errors": False,
                       "kind": "auto", "options": SourceOptions(), "limit": None, "check_content": True,
                       "to": None}  # fmt: skip
    assert status == 0


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--limit", "5"], "limit", 5),
        (["--kind", "openvid"], "kind", "openvid"),
        (["--no-content-check"], "check_content", False),
        (["--unlisted"], "options", SourceOptions(unlisted=True)),
        (["--columns", "path=file"], "options", SourceOptions(columns={"path": "file"})),
        (["--path-map", "/a/=b/", "--path-map", "c="], "options", SourceOptions(path_map={"/a/": "b/", "c": ""})),
        (["--workers", "3"], "execution", ExecutionConfig(workers=3)),
        (["--executor", "slurm"], "execution", ExecutionConfig(executor="slurm")),
        (["--devices", "cuda:0, cuda:1"], "execution", ExecutionConfig(devices=("cuda:0", "cuda:1"))),
    ],
)
@pytest.mark.parametrize("verb", ["curate", "index"])
def test_words_about_the_collection_and_the_execution(called, verb, words, name, value):
    assert given(called, verb, "videos", "--out", "out", *words)[name] == value


@pytest.mark.parametrize("words", [["--limit", "0"], ["--path-map", "old"], ["--columns", "x"], ["--set", "x.y=1"]])
def test_words_that_mean_nothing_are_refused(called, capsys, words):
    assert cli.main(["index", "videos", "--out", "out", *words]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("verb", [["score", "out"], ["curate", "videos", "--out", "out"]])
def test_words_about_scoring(called, verb):
    plain, both = given(called, *verb), given(called, *verb, "--score-all", "--retry-errors")
    assert (plain["score_all"], plain["retry_errors"]) == (False, False)
    assert (both["score_all"], both["retry_errors"]) == (True, True)


VERBS = {
    "curate": ["videos", "--out", "out"], "index": ["videos", "--out", "out"], "score": ["out"], "select": ["out"],
    "caption": ["out"], "export": ["out"], "report": ["out"], "why": ["out", "3f2a"],
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_settings_change_the_recipe_that_is_named_or_in_use_or_the_default_one(called, verb, tmp_path):
    words = [verb, *VERBS[verb]]
    change = ["--set", "keep.people.min_people=3", "--people-model", "yolov8x"]
    assert given(called, *words)["recipe"] is None
    expected = load_recipe(None, ["keep.people.min_people=3", "score.people.model=yolov8x"])
    assert given(called, *words, *change)["recipe"] == expected
    for path, crf in ((tmp_path / "out/recipe.toml", 5), (tmp_path / "my.toml", 6)):
        path.parent.mkdir(exist_ok=True)
        save_recipe(path, load_recipe(None, [f"export.crf={crf}"]))
    in_use, named = (given(called, *words, *more, *change)["recipe"] for more in ([], ["--recipe", "my.toml"]))
    assert (in_use.export.crf, in_use.keep, in_use.score) == (5, expected.keep, expected.score)
    assert (named.export.crf, named.keep, named.score) == (6, expected.keep, expected.score)


@pytest.mark.parametrize(("share", "status"), [("0.1", TOO_MANY_FAILED), ("0.2", 0), ("0.19", TOO_MANY_FAILED)])
def test_more_failures_than_allowed_are_a_status(called, share, status):
    assert called("curate", "videos", "--out", "out", "--max-failed", share)[1] == status


def test_curate_prints_the_funnel_and_where_the_report_is(called, capsys):
    called("curate", "videos", "--out", "out")
    assert capsys.readouterr().out.splitlines() == [
        f"clips{'10':>35}  100.00 %",
        f"  dropped: short{'1':>24}   10.00 %",
        f"  error: timeout{'2':>24}   20.00 %",
        f"kept{'7':>36}   70.00 %",
        "report: out/report.html",
    ]


def test_a_rank_that_is_not_the_last_prints_nothing(called, monkeypatch, capsys):
    monkeypatch.setattr(multiexpr, "curate", lambda *_args, **_options: None)
    assert cli.main(["curate", "videos", "--out", "out", "--executor", "slurm"]) == 0
    assert capsys.readouterr().out == ""


def test_a_selection_is_printed_as_text_or_json(called, capsys):
    called("select", "out")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["kept", "7", "70.00", "%"]
    called("select", "out", "--format", "json")
    assert json.loads(capsys.readouterr().out) == FUNNEL.as_dict()


def test_a_target_is_printed_and_written_on_request(monkeypatch, tmp_path, capsys):
    proposed = load_recipe(None, ["keep.sharpness.min_effective_px=12.5"])
    changes = {"keep.sharpness.min_effective_px": (64.0, 12.5)}
    asked = []
    proposal = Proposal(proposed, 1000, 2000, 30, changes)
    monkeypatch.setattr(
        curation, "propose_thresholds", lambda out, count, recipe: asked.append((out, count, recipe)) or proposal
    )
    assert cli.main(["select", str(tmp_path), "--target", "1000"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "keep.sharpness.min_effective_px = 12.5  # was 64",
        "# keeps 1,000 of 2,000 clips that pass all other rules",
        f"# clips that are not fully scored: 30; score them with: multiexpr score {tmp_path} --score-all",
    ]
    assert list(tmp_path.iterdir()) == []
    cli.main(["select", str(tmp_path), "--target", "7", "--write", str(tmp_path / "my.toml")])
    assert load_recipe(tmp_path / "my.toml") == proposed
    assert asked == [(tmp_path, 1000, None), (tmp_path, 7, None)]


def test_captions_that_failed_are_a_status(called, monkeypatch):
    (_, options), status = called("caption", "out", "--limit", "9", "--executor", "slurm")
    assert (options["limit"], options["execution"], status) == (9, ExecutionConfig(executor="slurm"), TOO_MANY_FAILED)
    monkeypatch.setattr(multiexpr, "caption", lambda *_args, **_options: {"clips": 3, "errors": 0})
    assert cli.main(["caption", "out"]) == 0


def test_export_report_and_why_print_what_came_of_them(called, monkeypatch, capsys):
    (_, options), _ = called("export", "out", "--workers", "2")
    assert options["execution"] == ExecutionConfig(workers=2)
    assert capsys.readouterr().out == "1,234 clips: out/dataset\n"
    (_, options), _ = called("report", "out", "--workers", "2")
    assert options["execution"] == ExecutionConfig(workers=2)
    (args, _), _ = called("why", "out", "3f2a")
    assert [str(arg) for arg in args] == ["out", "3f2a"]


def test_the_default_recipe_is_printed_as_it_is(capsys):
    assert cli.main(["recipe"]) == 0
    assert capsys.readouterr().out == DEFAULT_PATH.read_text(encoding="utf-8")
    assert load_recipe() == Recipe()


def test_select_with_a_setting_changes_nothing_unless_saved(workspace, capsys):
    fill(workspace, [[good(luma=0.5), good()]])
    out = str(workspace.root)
    assert cli.main(["select", out]) == 0
    before = workspace.recipe.read_bytes(), workspace.verdicts.read_bytes()
    stricter = ["select", out, "--set", "keep.sharpness.min_luma=0.45"]
    capsys.readouterr()
    assert cli.main(stricter) == 0
    shown = capsys.readouterr()
    assert "dropped: dark                        1" in shown.out
    assert "nothing was changed; decide with --save" in shown.err
    assert (workspace.recipe.read_bytes(), workspace.verdicts.read_bytes()) == before
    assert cli.main([*stricter, "--save"]) == 0
    assert load_recipe(workspace.recipe).keep.sharpness.min_luma == 0.45
    assert workspace.verdicts.read_bytes() != before[1]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("score", ["--executor", "slum"]),
        ("score", ["--workers", "-1"]),
        ("score", ["--people-model", "gone.pt"]),
        ("caption", ["--set", "caption.backend=openai"]),
        ("caption", ["--executor", "slum"]),
        ("export", ["--executor", "slum"]),
        ("export", ["--to", "nothing://bucket"]),
        ("report", ["--set", "keep.people.min_people=x"]),
        ("select", ["--target", "0"]),
    ],
)
def test_a_failed_verb_changes_no_settings(workspace, verb, arguments):
    fill(workspace, [[good(luma=0.0)]])
    assert cli.main(["select", str(workspace.root)]) == 0
    before = workspace.recipe.read_bytes()
    changed = [
        "--set",
        "score.aesthetics.method=photomotion",
        "--set",
        "export.crf=30",
        "--set",
        "score.people.num_frames=4",
    ]
    assert cli.main([verb, str(workspace.root), *changed, *arguments]) == 2
    assert workspace.recipe.read_bytes() == before


@pytest.mark.parametrize("has_recipe", [True, False])
def test_a_score_that_fails_after_its_start_changes_no_settings(workspace, monkeypatch, has_recipe):
    fill(workspace, [[good()]])
    if has_recipe:
        assert cli.main(["select", str(workspace.root)]) == 0
    before = workspace.recipe.read_bytes() if has_recipe else None

    def fail(make_stage, workspace, recipe, execution):
        assert load_recipe(workspace.recipe) == recipe  # `multiexpr status` shows the run by its settings
        raise UserError("no worker could be started")

    monkeypatch.setattr(curation, "run_stage", fail)
    assert cli.main(["score", str(workspace.root), "--set", "keep.people.min_people=5"]) == 2
    assert (workspace.recipe.read_bytes() if workspace.recipe.exists() else None) == before


def test_index_keeps_its_settings_for_later_verbs(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.mp4", noise(10))
    out = tmp_path / "out"
    assert cli.main(["index", str(tmp_path / "in"), "--out", str(out), "--set", "shots.max_shot_s=7"]) == 0
    assert load_recipe(out / "recipe.toml").shots.max_shot_s == 7
