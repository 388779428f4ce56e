"""The command `fantasyportrait`: each verb a thin shell over one public function."""

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
from fantasyportrait.settings import PRESETS, RuntimeConfig, SamplingConfig, add_flags, pick

EXAMPLES = """\
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --adapter fantasyportrait_model.ckpt \\
      --expression pd_fpg.pth --out model
  fantasyportrait sample --model model --portrait me.jpg --driver smile.mp4 --out me.mp4
  fantasyportrait info me.mp4"""

SAMPLE_EXAMPLES = """\
  one person                  fantasyportrait sample --model M --portrait p.jpg --driver d.mp4 --out o.mp4
  two people, two drivers     ... --portrait two.png --driver a.mp4 --driver b.mp4
  two people in one driver    ... --portrait two.png --driver both.mp4
  the second of three only    ... --portrait three.png --driver d.mp4 --assign -,0.0,-
  on a 24 GB card             ... --vram 24
  in four steps               ... --lora lightx2v.safetensors --steps 4 --expression-guidance 1
  as released, not as printed ... --preset released
  two GPUs                    torchrun --nproc-per-node 2 -m fantasyportrait sample ... --guidance-parallel 2
  a whole benchmark           fantasyportrait sample --model M --benchmark BENCH --out predictions"""

CONVERT_EXAMPLES = """\
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --adapter fantasyportrait_model.ckpt \\
      --expression pd_fpg.pth --out model
  fantasyportrait convert --model model --to released --out back
  fantasyportrait convert --base Wan2.1-I2V-14B-720P --to diffusers --out wan-diffusers
  fantasyportrait convert --random tiny --out tiny                 (a model to try the commands with)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `fantasyportrait --help`."""
    parser = Parser(
        prog="fantasyportrait",
        description="Animate portraits of one or several people after driving videos.",
        examples=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in (_sample, _convert, _info):
        add(verbs)
    _quieten()
    return run(parser, _joined(sys.argv[1:] if argv is None else argv))


def _joined(argv: Sequence[str]) -> list[str]:
    """`--assign -,0.0` as one word: argparse would take the list for a flag."""
    words = list(argv)
    if "--assign" in words[:-1]:
        at = words.index("--assign")
        words[at : at + 2] = [f"--assign={words[at + 1]}"]
    return words


def _quieten() -> None:
    """Libraries' remarks on each other are not the user's business."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


def _sample(verbs: argparse._SubParsersAction) -> None:
    summary = "Animate a portrait, or make every video of a benchmark."
    parser = verbs.add_parser("sample", help=summary, description=summary, examples=SAMPLE_EXAMPLES)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="written by fantasyportrait convert")
    parser.add_argument("--out", type=Path, required=True, help="the .mp4 to write; with --benchmark, a folder")
    parser.add_argument("--portrait", type=Path, metavar="IMAGE", help="whom to animate")
    parser.add_argument("--driver", type=Path, action="append", metavar="VIDEO", help="whose motion; again for more")
    parser.add_argument("--assign", metavar="LIST", help="DRIVER.FACE for each face left to right, - for nobody: 0.0,-")
    parser.add_argument("--audio", action="store_true", help="carry over the first driver's sound")
    parser.add_argument("--mark", action="store_true", help="write the word 'generated' into the picture")
    parser.add_argument("--preview", type=Path, metavar="DIR", help="pictures of the clip in the making")
    parser.add_argument("--overwrite", action="store_true", help="make again what is there")
    parser.add_argument(
        "--lora", action="append", default=[], metavar="FILE[:S]", help="change the backbone; again for more"
    )
    parser.add_argument("--face-detector", type=Path, metavar="ONNX", help="the released face_det.onnx")
    parser.add_argument("--face-landmarks", type=Path, metavar="ONNX", help="the released face_landmark.onnx")
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), default="paper", help="where the defaults come from (paper)"
    )
    bench = parser.add_argument_group("benchmarks")
    bench.add_argument("--benchmark", type=Path, metavar="BENCH", help="make every video of an ExprBench folder")
    bench.add_argument("--split", choices=("single", "multi"), help="only this split (both)")
    bench.add_argument("--track", choices=("self", "cross"), help="only this track (both)")
    bench.add_argument("--shard", type=shard, metavar="I/N", help="only every N-th case, from the I-th")
    bench.add_argument("--max-failed", type=int, default=0, metavar="N", help="failed cases that are no failure (0)")
    add_flags(parser.add_argument_group("sampling"), SamplingConfig)
    add_flags(parser.add_argument_group("machine"), RuntimeConfig)
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
        "runtime": pick(RuntimeConfig, args),
        **pick(SamplingConfig, args),
    }
    if args.benchmark is None:
        if args.portrait is None or not args.driver:
            raise UserError("give --portrait and --driver, or --benchmark")
        given = {"portrait": args.portrait, "drivers": args.driver, "assign": args.assign}
        path = sample(**common, **given, audio=args.audio, preview=args.preview)
        if os.environ.get("RANK", "0") == "0":
            print(path)
        return 0
    if args.portrait or args.driver or args.assign or args.audio or args.preview:
        raise UserError("--benchmark brings its own: leave out --portrait, --driver, --assign, --audio and --preview")
    done = sample_benchmark(**common, benchmark=args.benchmark, split=args.split, track=args.track, shard=args.shard)
    print(f"{args.out}: {len(done.made)} made, {len(done.skipped)} there already, {len(done.failed)} failed")
    return TOO_MANY_FAILED if len(done.failed) > args.max_failed else 0


def _face_models(args: argparse.Namespace) -> tuple[Path, Path] | None:
    if (args.face_detector is None) != (args.face_landmarks is None):
        raise UserError("--face-detector and --face-landmarks go together")
    return (args.face_detector, args.face_landmarks) if args.face_detector else None


def _convert(verbs: argparse._SubParsersAction) -> None:
    summary = "Bring weights from one layout to another."
    parser = verbs.add_parser("convert", help=summary, description=summary, examples=CONVERT_EXAMPLES)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    parser.add_argument("--base", type=Path, metavar="DIR", help="a Wan2.1-I2V download, either layout")
    parser.add_argument(
        "--adapter", type=Path, metavar="FILE", help="fantasyportrait_model.ckpt, or the flat safetensors"
    )
    parser.add_argument("--expression", type=Path, metavar="FILE", help="pd_fpg.pth")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder, with --to released or flat")
    parser.add_argument("--to", choices=("released", "flat", "diffusers", "published"), help="the layout to write")
    parser.add_argument("--random", metavar="SIZE", help="random weights instead: tiny, 1.3b or 14b")
    parser.add_argument("--seed", type=int, default=0, help="of random weights (0)")
    parser.add_argument(
        "--augment",
        choices=tuple(AUGMENTED),
        default="selective",
        help="features with learnable tokens in a random model, the rows of Table 3 (selective)",
    )
    parser.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the adapter (fp32)")
    parser.set_defaults(handler=_run_convert)


def _run_convert(args: argparse.Namespace) -> int:
    from fantasyportrait.checkpoints.convert import convert

    print("\n".join(convert(**{key: value for key, value in vars(args).items() if key != "handler"})))
    return 0


def _info(verbs: argparse._SubParsersAction) -> None:
    summary = "Say what a file is: checkpoint, model folder, Wan2.1 download, or a video made here."
    parser = verbs.add_parser("info", help=summary, description=summary, examples="  fantasyportrait info pd_fpg.pth")
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.set_defaults(handler=_run_info)


def _run_info(args: argparse.Namespace) -> int:
    from fantasyportrait.checkpoints.info import info

    json.dump(info(args.path), sys.stdout, indent=2, default=str)
    print()
    return 0
