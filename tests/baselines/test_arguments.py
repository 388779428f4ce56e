"""The arguments of every method are accepted by its own parser, rebuilt from what was read from its code."""

import argparse
import json

import pytest

from baselines.attempt import JobSettings, commands_of
from baselines.method_environment import Environment
from baselines.spec import find_method, method_folders
from baselines.stage import DriverInput, Job
from exprbench.core.errors import UserError
from tests.baselines.bench import OPTIONS
from tests.conftest import SHARED

# method -> kind -> for each step: file of facts, key of its arguments, and the word after which the arguments begin
PARSERS = {
    "liveportrait": {"single": [("LivePortrait", "args", "inference.py")]},
    "skyreels-a1": {"single": [("SkyReels-A1", "args", "inference.py")]},
    "hunyuanportrait": {"single": [("HunyuanPortrait", "args", "inference.py")]},
    "x-portrait": {"single": [("X-Portrait", "args", "core/test_xportrait.py")]},
    "follow-your-emoji": {"single": [None, ("FollowYourEmoji", "args", "infer.py")]},
    "fantasyportrait-official": {
        "single": [("fantasy-portrait", "args", "infer.py")],
        "multi": [("fantasy-portrait-multi", "args", "infer_multi.py")],
    },
    "wan2.2-animate": {
        "single": [
            ("Wan2.2-animate", "preprocess_args", "wan/modules/animate/preprocess/preprocess_data.py"),
            ("Wan2.2-animate", "args", "generate.py"),
        ]
    },
    "x-nemo": {"single": [("x-nemo-inference", "args", "scripts/pose2vid_xnemo.py")]},
    "personalive": {"single": [("PersonaLive", "args", "inference_offline.py")]},
    "aniportrait": {"single": [("AniPortrait", "args", "scripts.vid2vid")]},
    "lia-x": {"single": [("LIA-X", "args", "inference.py")]},
}
REQUIRED_IN_PRACTICE = {
    "liveportrait": {"source", "driving", "output_dir"},
    "skyreels-a1": {"image_path", "driving_video_path", "output_path"},
    "hunyuanportrait": {"config", "video_path", "image_path"},
    "x-portrait": {"model_config", "resume_dir", "source_image", "driving_video", "ddim_steps", "out_frames"},
    "fantasyportrait-official": {"prompt", "num_frames", "seed", "output_path"},
    "personalive": {"L", "reference_image", "driving_video"},
    "lia-x": {"mode", "cfg"},
}
TYPES = {"int": int, "float": float}
CASES = [(name, kind) for name, kinds in PARSERS.items() for kind in kinds]


def rebuild(arguments):
    """A parser with the flags, types, choices and required arguments of the facts."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for fact in arguments:
        flags = [flag.strip() for flag in fact["flag"].split(",")]
        options = {"required": fact["required"]}
        if fact["type"] == "bool flag pair":  # tyro: --flag and --no-flag, with dashes or underscores
            parser.add_argument(flags[0], flags[0].replace("_", "-").replace("--no-", "--no_"), action="store_true")
            parser.add_argument(flags[1], flags[1].replace("_", "-"), action="store_true")
        elif fact.get("action", "StoreAction") == "StoreAction":
            long = [flag.replace("_", "-") for flag in flags if flag.startswith("--") and "_" in flag]
            kind = TYPES.get(fact["type"], str)
            parser.add_argument(
                *flags, *long, type=kind, nargs=fact.get("nargs"), choices=fact["choices"] or None, **options
            )
        else:
            parser.add_argument(*flags, action="store_true")
    return parser


def job(kind, folder):
    drivers = tuple(DriverInput(path=folder / f"b{i}.mp4", face=0, num_faces=1) for i in range(1 + (kind == "multi")))
    return Job(
        case_id=f"{kind}-self-0001",
        kind=kind,
        folder=folder,
        source=folder / "p.png",
        face=0,
        num_faces=len(drivers),
        drivers=drivers,
        fps=25,
        num_frames=126,
        assign="0.0,1.0",
        is_self=True,
        bench_fps=25.0,
    )


def commands(name, kind, folder):
    environment = Environment(python=("python",), repo=folder / "repo", key="", commit="")
    settings = JobSettings(
        method=find_method(name), environment=environment, options=OPTIONS.get(name, {}), seed=7, timeout_s=1
    )
    return commands_of(settings, job(kind, folder), "0")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_methods_own_parser_accepts_the_arguments(name, kind, tmp_path):
    if not (SHARED / "facts" / "cli").is_dir():
        pytest.skip("needs ../shared/facts/cli")
    made, parsed = commands(name, kind, tmp_path), {}
    assert len(made) == len(PARSERS[name][kind])
    for command, facts in zip(made, PARSERS[name][kind], strict=True):
        if facts:
            file, key, start = facts
            content = json.loads((SHARED / "facts" / "cli" / f"{file}.json").read_text())
            assert content["commit"] == find_method(name).commit
            words = command.argv[command.argv.index(start) + 1 :]
            namespace = rebuild(content[key]).parse_args(words)
            parsed.update({k: v for k, v in vars(namespace).items() if v is not None})
    assert REQUIRED_IN_PRACTICE.get(name, set()) <= set(parsed)


def test_a_wrong_argument_is_noticed(tmp_path):
    parser = rebuild([{"flag": "--n", "type": "int", "choices": None, "required": True}])
    with pytest.raises(argparse.ArgumentError):
        parser.parse_args(["--n", "x"])


def test_methods_whose_parser_is_not_in_the_facts_are_known():
    assert set(method_folders()) - set(PARSERS) == {"megactor", "fantasyportrait"}


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_our_own_parser_accepts_the_arguments(kind, tmp_path, capsys):
    from fantasyportrait.cli import main

    (command,) = commands("fantasyportrait", kind, tmp_path)
    assert command.argv[:4] == ("python", "-m", "fantasyportrait", "sample")
    assert main(command.argv[3:]) == 2  # parsed, and then the files are missing
    assert "there is no portrait" in capsys.readouterr().err


def test_lists_and_flags_repeat_per_driver(tmp_path):
    ours = commands("fantasyportrait", "multi", tmp_path)[0].argv
    assert ours.count("--driver") == 2
    assert "--assign=0.0,1.0" in ours
    official = commands("fantasyportrait-official", "multi", tmp_path)[0].argv
    at = official.index("--driven_video_path")
    assert [word.rpartition("/")[2] for word in official[at + 1 : at + 4]] == ["d0.mp4", "d1.mp4", "--prompt"]


def test_an_option_without_a_default_must_be_given_and_an_unknown_one_is_named():
    from baselines.command import check_options

    method = find_method("fantasyportrait")
    with pytest.raises(UserError, match="fantasyportrait needs --set model=VALUE"):
        check_options(method, {})
    with pytest.raises(UserError, match="did you mean 'model'"):
        check_options(method, {"modle": "x"})
