"""Imports point one way: read from the source, so that a new arrow has to be drawn here first."""

import ast
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("exprbench", "multiexpr", "baselines", "fantasyportrait")

# Each part of a package, with the parts it may import; a package's own name stands for its root module.
EXPRBENCH = {
    "core": set(),
    "media": {"core"},
    "weights": {"core"},
    "face_engine": {"core"},
    "faces": {"core", "media", "weights", "face_engine"},
    "benchmark": {"core", "media", "faces"},
    "metrics": {"core", "weights", "faces"},
    "records": {"core", "benchmark"},
    "building": {"core", "media", "faces", "benchmark", "exprbench"},
    "collection": {"core", "benchmark"},
    "scoring": {"core", "media", "weights", "faces", "benchmark", "metrics", "records", "exprbench"},
    "leaderboard": {"core", "weights", "benchmark", "metrics", "records", "scoring"},
    "study": {"core", "media", "benchmark", "scoring", "leaderboard"},
    "report": {"core", "media", "faces", "benchmark", "metrics", "records", "scoring", "leaderboard"},
    "toy_benchmark": {"core", "media", "faces", "benchmark", "building", "records", "scoring"},
    "torch": {"weights", "metrics", "scoring"},
    "installation": {"core", "media", "weights"},
    "commands": {"core", "weights", "face_engine", "metrics", "records", "leaderboard", "report", "study", "exprbench"},
    "cli": {"core", "weights", "commands", "exprbench"},
    "__main__": {"cli"},
    "exprbench": {"core"},
}
MULTIEXPR = {
    "recipe": set(),
    "storage": set(),
    "sources": set(),
    "models": {"recipe"},
    "execution": {"recipe", "storage", "sources", "models"},
    "indexing": {"recipe", "storage", "sources", "execution"},
    "scorers": {"recipe", "models"},
    "selection": {"recipe", "storage", "indexing", "scorers"},
    "scoring": {"recipe", "storage", "sources", "models", "execution", "scorers", "selection"},
    "captions": {"recipe", "storage", "sources", "execution", "scorers", "selection"},
    "reporting": {"recipe", "storage", "sources", "scorers", "execution", "selection"},
    "exporting": {"recipe", "storage", "sources", "models", "execution", "scorers", "selection", "reporting"},
    "curation": {
        *("recipe", "storage", "sources", "execution", "indexing", "scorers", "selection", "scoring", "captions"),
        *("exporting", "reporting"),
    },
    "slurm_job": {"recipe", "storage", "execution", "indexing", "curation"},
    "commands": {"recipe", "sources", "storage", "execution", "reporting", "curation", "slurm_job", "multiexpr"},
    "cli": {"commands"},
    "multiexpr": set(),
}
FANTASYPORTRAIT = {
    "model": set(),
    "runtime": {"model"},
    "expression": {"model"},
    "diffusion": {"model", "runtime"},
    "watermark": set(),
    "colour_matching": set(),
    "settings": {"model"},
    "portrait": {"model"},
    "checkpoints": {"model", "expression", "watermark"},
    "backbone": {"settings", "model", "runtime", "checkpoints"},
    "user_masks": {"settings", "portrait", "model"},
    "inputs": {"settings", "portrait", "user_masks", "diffusion", "expression"},
    "workload": {"settings", "model", "runtime", "checkpoints", "diffusion", "inputs", "portrait"},
    "step_skipping": {"settings", "diffusion", "runtime", "checkpoints"},
    "pipeline": {
        *("settings", "portrait", "inputs", "workload", "backbone", "watermark", "colour_matching", "step_skipping"),
        *("model", "runtime", "diffusion", "expression", "checkpoints"),
    },
    "frame_arrays": set(),
    "array_pipeline": {
        *("settings", "portrait", "frame_arrays", "user_masks", "inputs", "workload", "pipeline"),
        *("diffusion", "expression"),
    },
    "checks": {"settings", "model", "checkpoints"},
    "sampling": {
        *("settings", "checks", "portrait", "user_masks", "inputs", "workload", "pipeline", "step_skipping"),
        "expression",
    },
    "training": {
        *("settings", "portrait", "inputs", "backbone", "pipeline", "sampling"),
        *("model", "runtime", "diffusion", "expression", "checkpoints"),
    },
    "cli": {"settings", "model", "checks", "checkpoints", "sampling", "training"},
    "__main__": {"cli"},
    "fantasyportrait": set(),
}
BASELINES = {
    "spec": set(),
    "geometry": set(),
    "gpus": set(),
    "timing": {"spec"},
    "method_environment": {"spec"},
    "supervisor": {"gpus"},
    "stage": {"spec", "geometry"},
    "job_folders": {"stage"},
    "placement": {"spec", "geometry"},
    "model_hashes": {"spec", "method_environment"},
    "command": {"spec", "method_environment", "stage"},
    "accept": {"spec", "placement"},
    "normalize": {"spec", "geometry", "placement", "timing"},
    "attempt": {"spec", "method_environment", "stage", "supervisor", "command", "accept", "normalize", "timing"},
    "run_record": {"attempt"},
    "case_run": {"gpus", "stage", "normalize", "attempt", "run_record"},
    "runner": {
        *("spec", "method_environment", "gpus", "stage", "job_folders", "model_hashes", "command", "attempt"),
        *("run_record", "case_run"),
    },
    "run_check": {"run_record"},
    "importing": {"spec", "geometry", "timing", "accept", "normalize", "run_record", "case_run", "runner"},
    "embedded_pair": set(),
    "trial": {"spec", "method_environment", "run_record", "runner", "embedded_pair"},
    "catalog": {"spec", "method_environment", "trial"},
    "parser_probe": set(),
    "doctor": {"spec", "method_environment", "gpus", "stage", "model_hashes", "command", "attempt"},
    "methods": set(),
    "cli": {"spec", "method_environment", "runner", "catalog", "doctor", "trial", "importing", "run_check"},
    "__main__": {"cli"},
    "baselines": set(),
}
LAYERS = {
    "exprbench": EXPRBENCH,
    "multiexpr": MULTIEXPR,
    "fantasyportrait": FANTASYPORTRAIT,
    "baselines": BASELINES,
}


def source_files():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in source_files()}


def imports(module):
    """(imported module, imported name) of a module of ours, wherever in the file; `TYPE_CHECKING` blocks aside."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    yield whole, ""
                elif node.module in MODULES:
                    yield node.module, alias.name


def part_of(module):
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package


def test_there_is_no_circle():
    graph = {module: {name for name, _ in imports(module)} - {module} for module in MODULES}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_down(package):
    layers = LAYERS[package]
    wrong = {
        f"{module} imports {name}"
        for module in MODULES
        for name, _ in imports(module)
        if module.startswith(package)
        and name.partition(".")[0] == package
        and part_of(module) != part_of(name)
        and part_of(name) not in layers.get(part_of(module), ())
    }
    assert wrong == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_that_of_a_module(package):
    """The import of `package.name` would replace the function `package.name` by the module."""
    modules = {part_of(module) for module in MODULES if module.startswith(f"{package}.")}
    public_names = vars(import_module(package)).get("__dir__", list)()
    assert modules.isdisjoint(public_names)


def test_the_layers_themselves_are_without_circles():
    for layers in LAYERS.values():
        TopologicalSorter(layers).prepare()


def test_packages_meet_only_in_exprbench():
    wrong = {
        f"{module} imports {name}"
        for module in MODULES
        for name, _ in imports(module)
        if name.partition(".")[0] not in ("exprbench", module.partition(".")[0])
    }
    assert wrong == set()


def test_no_package_uses_a_private_name_of_another_part():
    private = {
        f"{module} imports {name}.{imported}"
        for module in MODULES
        for name, imported in imports(module)
        if part_of(module) != part_of(name)
        and any(p.startswith("_") for p in (*name.split("."), imported))
        and imported
        and imported != "__version__"
    }
    assert private == set()


def test_no_two_public_classes_share_a_name():
    homes = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


SAME_JOB = {"cli", "errors", "options", "stage", "__init__", "__main__"}


def test_no_two_modules_of_one_name_have_different_jobs():
    homes = {}
    for path in source_files():
        homes.setdefault(path.stem, []).append(module_of(path))
    assert {name: where for name, where in homes.items() if len(where) > 1 and name not in SAME_JOB} == {}


def test_help_is_quick_because_heavy_libraries_are_loaded_late():
    import subprocess

    heavy = ("torch", "cv2", "scipy", "pandas", "mediapipe", "pyarrow", "diffusers")
    for package in PACKAGES:
        code = f"import sys, {package}.cli; print(*(m for m in {heavy} if m in sys.modules))"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        assert out.split() == [], package
