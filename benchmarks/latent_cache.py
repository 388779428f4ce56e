"""Time of loading a training example from the latent cache, compared with encoding it on the fly.

Face tracks and expression features come from ExprBench's cache in both cases; the first pass, which is not measured,
computes them.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import tree_cpu_s
from exprbench.core.cli_base import Parser
from exprbench.core.files import write_json
from fantasyportrait.backbone import resolve_device
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.training.clip_encoder import ClipEncoder, EncodingConfig
from fantasyportrait.training.clip_sources import list_clips, parse_source
from fantasyportrait.training.latent_cache import EncodedOnTheFly, ExampleStore, LatentCache, write_cache


def time_example(store: ExampleStore, num_examples: int) -> dict[str, float]:
    """Return the mean wall and processor time of loading one of the first examples; encoders are loaded before."""
    store.load(0)
    wall_s, cpu_s = time.perf_counter(), tree_cpu_s()
    for index in range(num_examples):
        store.load(index)
    return {
        "wall_s": (time.perf_counter() - wall_s) / num_examples,
        "cpu_s": (tree_cpu_s() - cpu_s) / num_examples,
    }


def measure(encoder: ClipEncoder, source: str, num_examples: int) -> dict[str, Any]:
    """Return the times per example on the fly and from a cache, and the size of an example in the cache."""
    clips = list_clips(*parse_source(source))
    with TemporaryDirectory() as folder:
        write_cache(Path(folder), clips, encoder)
        cache, fly = LatentCache(Path(folder)), EncodedOnTheFly(clips, encoder)
        num_examples = min(num_examples, len(cache.entries))
        size = sum(path.stat().st_size for path in (Path(folder) / "shards").glob("*.safetensors"))
        times = {name: time_example(store, num_examples) for name, store in (("on_the_fly", fly), ("cache", cache))}
    return {
        "examples": num_examples,
        **times,
        "cache_mib_per_example": size / len(cache.entries) / 2**20,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = Parser(prog="python -m benchmarks.latent_cache", description="Latent cache against on-the-fly encoding.")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder with the encoders")
    parser.add_argument("--source", required=True, metavar="NAME=PATH", help="clips, as for fantasyportrait prepare")
    parser.add_argument("--clip", default="832x480x81", help="WIDTHxHEIGHTxFRAMES of an example (default: 832x480x81)")
    parser.add_argument("--fps", type=float, default=25.0, help="frames per second (default: 25)")
    parser.add_argument("--examples", type=int, default=8, help="number of measured examples (default: 8)")
    parser.add_argument("--device", default="auto", help="device of the encoders (default: auto)")
    parser.add_argument("--json", type=Path, help="file for the results (default: none)")
    args = parser.parse_args(argv)
    width, height, num_frames = map(int, args.clip.split("x"))
    config = EncodingConfig(sizes=((width, height),), num_frames=num_frames, fps=args.fps)
    encoder = ClipEncoder(ModelFolder(args.model), config, resolve_device(args.device))
    found = measure(encoder, args.source, args.examples)
    print(json.dumps(found, indent=2))
    if args.json:
        write_json(args.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
