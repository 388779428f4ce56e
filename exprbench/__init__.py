"""ExprBench: score portrait animation.

    import exprbench
    bench = exprbench.Benchmark.open("bench")
    record = exprbench.score(benchmark="bench", predictions="out/mymethod", method="mymethod")
    print(exprbench.table([record]))

Names are imported on first use, so importing this package (and `exprbench --help`) is fast.
"""

from exprbench.core.lazy import lazy

__version__ = "0.1.0"

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Benchmark": "exprbench.benchmark",
        "FaceTrack": "exprbench.faces",
        "MediaError": "exprbench.media",
        "ScoreRecord": "exprbench.records",
        "UserError": "exprbench.core.errors",
        "aggregate_study": "exprbench.study.aggregation",
        "build": "exprbench.building",
        "build_report": "exprbench.report.report_folder",
        "build_study": "exprbench.study.questionnaire",
        "check": "exprbench.benchmark",
        "collect": "exprbench.collection.collecting",
        "compare": "exprbench.leaderboard.pairwise",
        "doctor": "exprbench.installation",
        "demo": "exprbench.toy_benchmark.run_demo",
        "frame": "exprbench.leaderboard.frame",
        "load_record": "exprbench.records",
        "open_clip": "exprbench.media",
        "paper_table": "exprbench.leaderboard.reported",
        "preflight": "exprbench.scoring.preflight",
        "score": "exprbench.scoring",
        "score_pair": "exprbench.scoring.pairs",
        "submit": "exprbench.leaderboard.submission",
        "table": "exprbench.leaderboard",
        "track_faces": "exprbench.faces.video_tracks",
        "variants": "exprbench.leaderboard.variants",
        "verify": "exprbench.leaderboard.rescoring",
        "write_manifest": "exprbench.collection.manifest",
        "write_video": "exprbench.media",
    },
)
