"""Curate a folder of videos from Python: keep clips in which two people or more show expressions.

    python examples/curate_a_folder.py VIDEOS OUT [CLIP]

With the name of a clip, it also shows why that clip was kept or dropped.
"""

import sys

import multiexpr

videos, out, *clips = sys.argv[1:]

# The default recipe with one change; `multiexpr recipe` prints all settings.
recipe = multiexpr.load_recipe(None, ["keep.people.min_people=2"])
funnel = multiexpr.curate(videos, out, recipe=recipe)

counts = funnel.as_dict()
print(f"{counts['kept']} of {counts['clips']} clips kept")
for step in (step for step in counts["steps"] if step["dropped"]):
    print(f"  dropped, {step['reason']}: {step['dropped']}")

# All scores of a clip, and the rule that decided.
for clip in clips:
    print(multiexpr.why(out, clip))
