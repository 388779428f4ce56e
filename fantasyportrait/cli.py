"""Command line `fantasyportrait`: one verb per public function."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import exprbench
from exprbench.core.cli_base import TOO_MANY_FAILED, Parser, run, shard
from exprbench.core.errors import UserError
from fantasyportrait.model.configs import AUGMENTED
from fantasyportrait.settings import PRESETS, RuntimeConfig, SamplingConfig, add_flags, select_fields

EXAMPLES = """\
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --adapter fantasyportrait_model.ckpt \\
      --expression pd_fpg.pth --out model
  fantasyportrait sample --model model --portrait me.jpg --driver smile.mp4 --out me.mp4
  fantasyportrait info me.mp4
  fantasyportrait train --recipe tiny --out runs/tiny"""

SAMPLE_EXAMPLES = """\
  one person                  fantasyportrait sample --model M --portrait p.jpg --driver d.mp4 --out o.mp4
  two people, two drivers     ... --portrait two.png --driver a.mp4 --driver b.mp4
  two people in one driver    ... --portrait two.png --driver both.mp4
  the second of three only    ... --portrait three.png --driver d.mp4 --assign -,0.0,-
  your own masks              ... --portrait two.png --driver both.mp4 --masks left.png --masks right.png
  motion in steps 1 to 20     ... --motion-to-step 20
  skipped steps               ... --cache calibrate (once for a model), then ... --cache mag
  a long clip, anchored       ... --window 81 --anchor both
  a 24 GB GPU                 ... --vram 24
  four steps                  ... --lora lightx2v.safetensors --steps 4 --expression-guidance 1
  the released settings       ... --preset released
  two GPUs                    torchrun --nproc-per-node 2 -m fantasyportrait sample ... --guidance-parallel 2
  a whole benchmark           fantasyportrait sample --model M --benchmark BENCH --out predictions"""

CONVERT_EXAMPLES = """\
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --adapter fantasyportrait_model.ckpt \\
      --expression pd_fpg.pth --out model
  fantasyportrait convert --model model --to released --out back
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --to diffusers --out wan-diffusers
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --expression pd_fpg.pth --untrained --out start
  fantasyportrait convert --training runs/paper --out trained      (the newest checkpoint of a training run)
  fantasyportrait convert --random tiny --out tiny                 (a small model for trying the commands)"""

PREPARE_EXAMPLES = """\
  fantasyportrait prepare --model model --source hallo3=DIR --source multi-expr=OUT/dataset --out cache
  fantasyportrait prepare --model model --source mine=clips.csv --set sizes=480x480 --set num_frames=49 --out cache"""

TRAIN_EXAMPLES = """\
  a tiny model, on a CPU      fantasyportrait train --recipe tiny --out runs/tiny
  the paper's run             torchrun --nproc-per-node 8 -m fantasyportrait train --recipe paper-14b \\
                                  --model model --data cache --out runs/paper
  memory, time, cost          ... --dry-run --devices 24 --tokens-per-s 3000
  other settings              ... --set optimizer.learning_rate=5e-5 --set steps=10000
  your own recipe             ... --recipe mine.py:my_recipe"""

INFO_EXAMPLES = """\
  fantasyportrait info pd_fpg.pth
  fantasyportrait info model
  fantasyportrait info me.mp4"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; see `fantasyportrait --help`."""
    parser = Parser(
        prog="fantasyportrait",
        description="Animate portraits of one or several people with driving videos.",
        examples=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in (_add_sample, _add_convert, _add_info, _add_prepare, _add_train):
        add(verbs)
    _silence_libraries()
    return run(parser, _join_assign_value(sys.argv[1:] if argv is None else argv))


def _join_assign_value(argv: Sequence[str]) -> list[str]:
    """Return the arguments with `--assign -,0.0` as `--assign=-,0.0`; argparse takes the bare list for a flag."""
    words = list(argv)
    if "--assign" in words[:-1]:
        i = words.index("--assign")
        words[i : i + 2] = [f"--assign={words[i + 1]}"]
    return words


def _silence_libraries() -> None:
    """Turn off warnings that libraries print about each other."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


def _add_sample(verbs: argparse._SubParsersAction) -> None:
    summary = "Animate a portrait, or generate every video of a benchmark."
    parser = verbs.add_parser("sample", help=summary, description=summary, examples=SAMPLE_EXAMPLES)
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="model folder of fantasyportrait convert"
    )
    parser.add_argument("--out", type=Path, required=True, help="output .mp4 file, or output folder with --benchmark")
    parser.add_argument("--portrait", type=Path, metavar="IMAGE", help="portrait to animate")
    parser.add_argument(
        "--driver", type=Path, action="append", metavar="VIDEO", help="driving video; repeat the flag for several"
    )
    parser.add_argument(
        "--assign",
        metavar="LIST",
        help="DRIVER.FACE for each portrait face from left to right, or - for a face at rest, such as 0.0,- "
        "(default: driving faces from left to right)",
    )
    parser.add_argument(
        "--masks",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="image or video of the portrait's size, white where a person is and black elsewhere, for each person from "
        "left to right; repeat the flag, or give a folder (default: boxes of the faces found)",
    )
    parser.add_argument("--audio", action="store_true", help="copy of the first driver's audio (default: no audio)")
    parser.add_argument("--mark", action="store_true", help="visible watermark 'generated' (default: no watermark)")
    parser.add_argument("--preview", type=Path, metavar="DIR", help="folder for preview images (default: no previews)")
    parser.add_argument("--overwrite", action="store_true", help="replacement of existing videos (default: no)")
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:S]",
        help="LoRA of the backbone, with strength S (default: 1); repeat the flag for several",
    )
    parser.add_argument(
        "--face-detector", type=Path, metavar="ONNX", help="released face_det.onnx (default: MediaPipe)"
    )
    parser.add_argument(
        "--face-landmarks", type=Path, metavar="ONNX", help="released face_landmark.onnx (default: MediaPipe)"
    )
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="paper",
        help="set of defaults of the sampling flags (default: paper)",
    )
    bench = parser.add_argument_group("benchmark")
    bench.add_argument("--benchmark", type=Path, metavar="BENCH", help="ExprBench folder whose videos are generated")
    bench.add_argument("--split", choices=("single", "multi"), help="split of the cases (default: both)")
    bench.add_argument("--track", choices=("self", "cross"), help="track of the cases (default: both)")
    bench.add_argument("--shard", type=shard, metavar="I/N", help="every N-th case from the I-th (default: all cases)")
    bench.add_argument(
        "--max-failed",
        type=int,
        default=0,
        metavar="N",
        help="number of failed cases above which the exit status is 3 (default: 0)",
    )
    add_flags(parser.add_argument_group("sampling"), SamplingConfig)
    add_flags(parser.add_argument_group("hardware"), RuntimeConfig)
    parser.set_defaults(handler=_run_sample)


def _run_sample(args: argparse.Namespace) -> int:
    from fantasyportrait.sampling import sample, sample_benchmark

    common: dict[str, Any] = {
        "model": args.model,
        "out": args.out,
        "preset": args.preset,
        "loras": args.lora,
        "face_models": _face_models(args),
        "mark": args.mark,
        "overwrite": args.overwrite,
        "runtime": select_fields(RuntimeConfig, args),
        **select_fields(SamplingConfig, args),
    }
    if args.benchmark is None:
        if args.portrait is None or not args.driver:
            raise UserError("nothing to animate; give --portrait and --driver, or --benchmark")
        inputs = {"portrait": args.portrait, "drivers": args.driver, "assign": args.assign, "masks": args.masks}
        path = sample(**common, **inputs, audio=args.audio, preview=args.preview)
        if os.environ.get("RANK", "0") == "0":
            print(path)
        return 0
    if args.portrait or args.driver or args.assign or args.masks or args.audio or args.preview:
        raise UserError(
            "--benchmark sets portraits and drivers; leave out --portrait, --driver, --assign, --masks, --audio and "
            "--preview"
        )
    result = sample_benchmark(**common, benchmark=args.benchmark, split=args.split, track=args.track, shard=args.shard)
    counts = f"{len(result.generated)} generated, {len(result.skipped)} skipped, {len(result.failed)} failed"
    print(f"{args.out}: {counts}")
    return TOO_MANY_FAILED if len(result.failed) > args.max_failed else 0


def _face_models(args: argparse.Namespace) -> tuple[Path, Path] | None:
    if (args.face_detector is None) != (args.face_landmarks is None):
        raise UserError("only one of --face-detector and --face-landmarks is given; give both or neither")
    return (args.face_detector, args.face_landmarks) if args.face_detector else None


def _add_convert(verbs: argparse._SubParsersAction) -> None:
    summary = "Convert weights from one layout to another."
    parser = verbs.add_parser("convert", help=summary, description=summary, examples=CONVERT_EXAMPLES)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="Wan2.1-I2V download in the published or diffusers layout"
    )
    parser.add_argument(
        "--adapter", type=Path, metavar="FILE", help="adapter: fantasyportrait_model.ckpt or the flat safetensors file"
    )
    parser.add_argument(
        "--expression",
        type=Path,
        metavar="FILE",
        help="expression encoder pd_fpg.pth (default: the one in the --adapter file)",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="model folder to export with --to released or flat")
    parser.add_argument(
        "--to", choices=("released", "flat", "diffusers", "published"), help="output layout (default: a model folder)"
    )
    parser.add_argument(
        "--training", type=Path, metavar="DIR", help="run of fantasyportrait train, or one of its checkpoints"
    )
    parser.add_argument(
        "--untrained", action="store_true", help="new adapter on --base and --expression, to start training from"
    )
    parser.add_argument("--random", metavar="SIZE", help="size of a model of random weights: tiny, small, 1.3b or 14b")
    parser.add_argument("--seed", type=int, default=0, help="random seed of --random and --untrained (default: 0)")
    parser.add_argument(
        "--augment",
        choices=tuple(AUGMENTED),
        default="selective",
        help="features with learnable tokens in a new adapter, rows of Table 3 (default: selective)",
    )
    parser.add_argument(
        "--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="data type of the adapter (default: fp32)"
    )
    parser.set_defaults(handler=_run_convert)


def _run_convert(args: argparse.Namespace) -> int:
    if args.training is not None:
        from fantasyportrait.training.export_run import export_run

        print("\n".join(export_run(args.training, args.out)))
        return 0
    from fantasyportrait.checks import check_convert

    check_convert(args.base, args.adapter, args.expression, args.model, args.random)
    from fantasyportrait.checkpoints.convert import convert

    print("\n".join(convert(**{key: value for key, value in vars(args).items() if key not in ("handler", "training")})))
    return 0


def _add_prepare(verbs: argparse._SubParsersAction) -> None:
    summary = "Encode clips into a latent cache for training."
    parser = verbs.add_parser("prepare", help=summary, description=summary, examples=PREPARE_EXAMPLES)
    _add_model_and_recipe(parser, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the cache")
    parser.add_argument(
        "--dtype", choices=("bf16", "fp32"), default="bf16", help="data type of stored latents (default: bf16)"
    )
    parser.set_defaults(handler=_run_prepare)


def _add_model_and_recipe(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--model", type=Path, required=required, metavar="DIR", help="model folder of fantasyportrait convert"
    )
    parser.add_argument(
        "--source", action="append", default=[], required=required, metavar="NAME=PATH",
        help="dataset of multiexpr, Hallo3 folder, or .txt, .csv or .jsonl list; repeat the flag for several",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", default="paper-14b", metavar="NAME", help="recipe, or FILE.py:FUNCTION (default: paper-14b)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="setting of the recipe that is replaced; repeat the flag for several",
    )  # fmt: skip
    parser.add_argument(
        "--reference", choices=("first", "random", "video"), default="first",
        help="reference image of a clip: its first frame, a random one, or the first frame of its video "
        "(default: first)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="device: cpu, cuda, or one GPU such as cuda:1 (default: auto)")


def _settings(args: argparse.Namespace) -> dict[str, str]:
    pairs = [text.partition("=") for text in args.set]
    if wrong := [name for name, sep, _ in pairs if not sep]:
        raise UserError(f"--set is {wrong[0]!r}; expected NAME=VALUE, such as steps=1000")
    return {name: value for name, _, value in pairs}


def _run_prepare(args: argparse.Namespace) -> int:
    from fantasyportrait.training.run_training import prepare

    options = {"model": args.model, "sources": args.source, "out": args.out, "recipe": args.recipe}
    options |= {"settings": _settings(args), "reference": args.reference, "dtype": args.dtype, "device": args.device}
    print(prepare(**options))
    return 0


def _add_train(verbs: argparse._SubParsersAction) -> None:
    summary = "Train the motion adapter, with the backbone frozen, with LoRA, or in full."
    parser = verbs.add_parser("train", help=summary, description=summary, examples=TRAIN_EXAMPLES)
    _add_model_and_recipe(parser, required=False)
    parser.add_argument("--data", type=Path, metavar="DIR", help="latent cache of fantasyportrait prepare")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the run; if it holds a run, it is continued"
    )
    parser.add_argument(
        "--continue-adapter", action="store_true", help="start from the adapter of --model (default: a new adapter)"
    )
    parser.add_argument("--benchmark", type=Path, metavar="BENCH", help="ExprBench folder for validation videos")
    parser.add_argument(
        "--num-cases", type=int, default=4, metavar="N", help="number of validation cases of each track (default: 4)"
    )
    parser.add_argument("--dry-run", action="store_true", help="prediction of memory, steps, time and cost only")
    parser.add_argument(
        "--devices", type=int, metavar="N", help="number of devices of --dry-run (default: number of processes)"
    )
    parser.add_argument(
        "--tokens-per-s", type=float, metavar="X",
        help="measured tokens per second of one device, for --dry-run (default: 40%% of an A100's peak)",
    )  # fmt: skip
    parser.set_defaults(handler=_run_train)


def _run_train(args: argparse.Namespace) -> int:
    from fantasyportrait.training.run_training import plan, train

    if args.dry_run:
        names = ("recipe", "model", "data", "devices", "tokens_per_s")
        print(plan(**{name: getattr(args, name) for name in names}, settings=_settings(args)))
        return 0
    names = ("out", "recipe", "model", "data", "continue_adapter", "benchmark", "num_cases", "device", "reference")
    options = {name: getattr(args, name) for name in names}
    lines = train(**options, sources=args.source, settings=_settings(args))
    if lines:
        print("\n".join(lines))
    return 0


def _add_info(verbs: argparse._SubParsersAction) -> None:
    summary = "Identify a checkpoint, a model folder, a Wan2.1 download or a generated video."
    parser = verbs.add_parser("info", help=summary, description=summary, examples=INFO_EXAMPLES)
    parser.add_argument("path", type=Path, metavar="PATH", help="file or folder to identify")
    parser.set_defaults(handler=_run_info)


def _run_info(args: argparse.Namespace) -> int:
    if not args.path.exists():
        raise UserError(f"there is no file or folder {args.path}")
    from fantasyportrait.checkpoints.info import info

    json.dump(info(args.path), sys.stdout, indent=2, default=str)
    print()
    return 0
