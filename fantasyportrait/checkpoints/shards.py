"""Files of one checkpoint in a folder that holds several: its single file, or its shards with or without an index."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.core.files import read_json

SUFFIXES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<count>\d+)")
INDEX = re.compile(r"(?P<stem>.+?)\.[a-z]+\.index(?:\.[^.]+)?\.json")


def find_checkpoint(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Return the files of the checkpoint whose names match a glob pattern; empty if there is none.

    A checkpoint is identified by its stem: the name without its suffix and the number of the shard. An index belongs
    to the checkpoint of its own stem, not to other files in the folder. If there are variants, such as `model` and
    `model.fp16`, the plain one is returned.

    Raises:
        UserError: a shard is missing, or the pattern matches several checkpoints.
    """
    files = [path for path in sorted(folder.glob(pattern)) if path.suffix in SUFFIXES]
    by_stem = defaultdict(list)
    for path in files:
        by_stem[_stem(path)].append(path)
    indexes = {match["stem"]: p for p in folder.glob(f"{pattern}.index*.json") if (match := INDEX.fullmatch(p.name))}
    if not by_stem and not indexes:
        return ()
    stem = _choose_stem({*by_stem, *indexes}, (folder / pattern).parent)
    if stem in indexes:
        return _indexed_files(indexes[stem])
    single = [path for path in by_stem[stem] if not SHARD.fullmatch(path.stem)]
    return tuple(single[:1]) or _numbered_shards(by_stem[stem])


def _stem(path: Path) -> str:
    match = SHARD.fullmatch(path.stem)
    return match["stem"] if match else path.stem


def _choose_stem(stems: Iterable[str], folder: Path) -> str:
    plain = min(stems, key=len)
    if others := sorted(stem for stem in stems if stem != plain and not stem.startswith(f"{plain}.")):
        raise UserError(f"{folder} holds several checkpoints of one component ({plain}, {', '.join(others)}); keep one")
    return plain


def _indexed_files(index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index} lists no files; download it again")
    names = sorted(set(map(str, weight_map.values())))
    _check_all_exist(index.parent, names)
    return tuple(index.parent / name for name in names)


def _numbered_shards(files: list[Path]) -> tuple[Path, ...]:
    matches = [match for path in files if (match := SHARD.fullmatch(path.stem))]
    counts = {match["count"] for match in matches}
    if len(counts) > 1:
        raise UserError(
            f"{files[0].parent} holds shards of several checkpoints (of {', '.join(sorted(counts))}); keep one"
        )
    stem, number, count = matches[0].groups()
    numbers = (f"{i:0{len(number)}d}" for i in range(1, int(count) + 1))
    _check_all_exist(files[0].parent, [f"{stem}-{i}-of-{count}{files[0].suffix}" for i in numbers])
    return tuple(files)


def _check_all_exist(folder: Path, names: list[str]) -> None:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"{folder} lacks {', '.join(missing)}; finish the download")
