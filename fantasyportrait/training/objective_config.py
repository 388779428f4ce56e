"""Settings of the objective."""

from dataclasses import dataclass

from exprbench.core.schema import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Distribution of noise levels, dropout of conditions, and weight of faces in the loss."""

    shift: float = setting(5.0, "timestep shift of the noise levels; 1 for none", above=0)
    logit_mean: float = setting(0.0, "mean of the logit of the unshifted noise level")
    logit_std: float = setting(1.0, "standard deviation of that logit", above=0)
    drop_expression: float = setting(0.2, "probability to drop the expression", minimum=0)
    drop_prompt: float = setting(0.2, "probability to drop the prompt", minimum=0)
    drop_reference: float = setting(0.2, "probability to drop the reference image", minimum=0)
    face_weight: float = setting(0.0, "additional weight of face regions in the loss; 0 for none", minimum=0)
    masked_attention: bool = setting(True, "masked cross-attention (MCA) in clips of several people")

    def __post_init__(self) -> None:
        check_settings(self, lambda name: f"objective.{name}")
