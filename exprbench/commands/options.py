"""Arguments that several verbs share."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from exprbench.core.cli_base import Parser
from exprbench.core.errors import UserError


def add_verb(verbs: argparse._SubParsersAction, name: str, summary: str, examples: str) -> Parser:
    """Return the parser of a new verb, with its one-line summary and the examples of its help."""
    return verbs.add_parser(name, help=summary, description=summary, examples=examples)


def name_list(text: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--profile`."""
    parser.add_argument(
        "--profile",
        choices=("mediapipe", "paper"),
        default="mediapipe",
        help="gaze, expression and pose by MediaPipe, or by L2CS-Net and SMIRK as in the paper (default: mediapipe)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--device`."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="device of the networks (default: auto)"
    )


def add_face_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--face-engine`."""
    parser.add_argument(
        "--face-engine",
        choices=("mediapipe", "openvino", "torch", "auto"),
        default="",
        help="library that runs MediaPipe's face networks; torch: on the GPU if there is one; "
        "auto: OpenVINO if it is installed (default: mediapipe)",
    )


def add_pairing(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--pairing`."""
    parser.add_argument(
        "--pairing",
        choices=("time", "index"),
        default="time",
        help="frames paired by the times in the files, or by number whatever their frame rate (default: time)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--workers`."""
    parser.add_argument("--workers", type=int, metavar="N", help="number of processes (default: all cores)")


def add_split_and_track(parser: argparse.ArgumentParser) -> None:
    """Add the flags `--split` and `--track`."""
    parser.add_argument("--split", choices=("single", "multi"), help="split (default: both)")
    parser.add_argument("--track", choices=("self", "cross"), help="track (default: both)")


def method_folder(text: str) -> tuple[str, Path]:
    """Return the method and the folder of `METHOD=DIR`."""
    method, found, folder = text.partition("=")
    if not (method and found and folder):
        raise argparse.ArgumentTypeError(f"{text!r}; expected METHOD=DIR, like mine=out/mine")
    return method, Path(folder)


def folder_by_method(folders: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """Return method -> folder.

    Raises:
        UserError: a method is named twice.
    """
    if len(dict(folders)) < len(folders):
        raise UserError("--predictions names a method twice; give every method one name and one folder")
    return dict(folders)
