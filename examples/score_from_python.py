"""Score a method from Python, and look into the record.

    python examples/score_from_python.py BENCH PREDICTIONS

Without arguments, the demo's benchmark and one of its toy methods are used (run `exprbench demo` first).
"""

import sys

import exprbench

benchmark, predictions = sys.argv[1:] or ("runs/demo/bench", "runs/demo/predictions/jittery")

record = exprbench.score(
    benchmark=benchmark, predictions=predictions, method="mine", out="runs/mine.json", metrics=["psnr", "lmd", "mae"]
)

# One number: the mean over videos, with its 95 % interval.
lmd = record.group("single", "self").aggregates["lmd"]
print(f"LMD {1e3 * lmd.value:.2f} ({1e3 * lmd.low:.2f} to {1e3 * lmd.high:.2f}) e-3, {lmd.num_videos} videos")

# Every case as a pandas table: the three worst videos.
cases = record.to_frame()
print(cases.nlargest(3, "lmd")[["case_id", "lmd", "mae", "detect_rate"]].to_string(index=False))

# The paper's table.
print(exprbench.table([record]))
