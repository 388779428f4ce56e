"""FantasyPortrait: animation of portraits of one or several people by driving videos.

    import fantasyportrait
    fantasyportrait.convert(base="Wan2.1-I2V-14B-720P", adapter="fantasyportrait_model.ckpt",
                            expression="pd_fpg.pth", out="model")
    fantasyportrait.sample(model="model", portrait="me.jpg", drivers=["smile.mp4"], out="me.mp4")

Names are imported on first use.
"""

from exprbench.core.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "FantasyPortraitPipeline": "fantasyportrait.array_pipeline",
        "Pipeline": "fantasyportrait.pipeline",
        "RuntimeConfig": "fantasyportrait.settings",
        "SamplingConfig": "fantasyportrait.settings",
        "convert": "fantasyportrait.checkpoints.convert",
        "info": "fantasyportrait.checkpoints.info",
        "load_pipeline": "fantasyportrait.pipeline",
        "prepare": "fantasyportrait.training.run_training",
        "prepare_inputs": "fantasyportrait.inputs",
        "sample": "fantasyportrait.sampling",
        "sample_benchmark": "fantasyportrait.sampling",
        "train": "fantasyportrait.training.run_training",
    },
)
