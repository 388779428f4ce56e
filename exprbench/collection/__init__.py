"""Share a benchmark without its media: a manifest of sources, from which anyone builds the same folder.

exprbench.write_manifest("bench", "bench.manifest.json")
exprbench.collect("bench.manifest.json", "inputs")
"""

from exprbench.core.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "collect": "exprbench.collection.collecting",
        "load_manifest": "exprbench.collection.manifest",
        "write_manifest": "exprbench.collection.manifest",
    },
)
