"""Run the methods that the paper compares, and your own, over an ExprBench benchmark.

    import baselines
    settings = baselines.RunSettings(gpus=("0", "1"))
    baselines.run_method("liveportrait", benchmark="bench", out="out/liveportrait", settings=settings)

Names are imported on first use.
"""

from exprbench.core.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Method": "baselines.spec",
        "RunSettings": "baselines.runner",
        "dry_run": "baselines.runner",
        "examine": "baselines.doctor",
        "find_method": "baselines.spec",
        "import_videos": "baselines.importing",
        "install": "baselines.method_environment",
        "load_methods": "baselines.spec",
        "run_method": "baselines.runner",
        "run_problems": "baselines.run_check",
        "try_method": "baselines.trial",
    },
)
