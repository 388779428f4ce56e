"""FantasyPortraitPipeline: arrays in, arrays out, with the argument names of diffusers' pipelines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.faces import FaceTracks
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import collect, landmarker
from fantasyportrait.diffusion.denoise import OnStepEnd
from fantasyportrait.diffusion.flow_matching import compute_sigmas
from fantasyportrait.expression.driver import FaceMotion, FacePoints, encode_motion, select_people
from fantasyportrait.frame_arrays import to_frames, to_masks, to_output
from fantasyportrait.inputs import Inputs, build_inputs
from fantasyportrait.pipeline import Pipeline, load_pipeline
from fantasyportrait.portrait import Assignment, select_boxes
from fantasyportrait.settings import RuntimeConfig, SamplingConfig, from_dict
from fantasyportrait.user_masks import check_mask, check_mask_settings, mask_boxes
from fantasyportrait.workload import latent_shape

RENAMED = {
    "steps": "num_inference_steps",
    "text_guidance": "guidance_scale",
    "expression_guidance": "expression_guidance_scale",
    "frames": "num_frames",
    "size": "height and width",
}
OUTPUT_TYPES = ("np", "pt", "pil", "latent")
StepCallback = Callable[["FantasyPortraitPipeline", int, Tensor, dict[str, Any]], dict[str, Any]]


@dataclass
class FantasyPortraitPipelineOutput(BaseOutput):
    """Generated videos, a batch of one.

    `frames` is (1, F, H, W, 3) float32 in [0, 1] for `np`, (1, F, 3, H, W) for `pt`, a list of one list of images for
    `pil`, and (1, 16, f, h, w) for `latent`.
    """

    frames: Any


class FantasyPortraitPipeline:
    """Animation of a portrait by driving videos, all of them arrays; the model is loaded once.

        pipe = FantasyPortraitPipeline.from_pretrained("model")
        frames = pipe(image=portrait, drivers=[driver], num_inference_steps=30).frames[0]

    Attributes:
        pipeline: the `Pipeline` of files that does the work.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, runtime: RuntimeConfig | None = None, loras: Sequence[str] = ()
    ) -> "FantasyPortraitPipeline":
        """Open a model folder; see `load_pipeline`."""
        return cls(load_pipeline(folder, runtime, loras=loras))

    @property
    def device(self) -> torch.device:
        """Return the device to compute on."""
        return self.pipeline.device

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        drivers: Sequence[Any],
        prompt: str = "",
        negative_prompt: str = "",
        *,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        fps: float = 25.0,
        num_inference_steps: int = 30,
        guidance_scale: float = 1.0,
        expression_guidance_scale: float = 4.5,
        assignment: Assignment | None = None,
        masks: Sequence[Any] | None = None,
        image_tracks: FaceTracks | None = None,
        driver_tracks: Sequence[FaceTracks] | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **options: Any,
    ) -> FantasyPortraitPipelineOutput | tuple[Any]:
        """Generate one video.

        Args:
            image: portrait: a PIL image, (H, W, 3) or a (3, H, W) tensor, uint8 or in [0, 1].
            drivers: driving videos: (F, H, W, 3), (F, 3, H, W) tensors or lists of PIL images.
            prompt, negative_prompt: text prompts.
            height, width: size of the video, for which the portrait is cropped; by default see `max_side`.
            num_frames: maximum number of frames; by default, those of the shortest driver.
            fps: frame rate of the drivers.
            num_inference_steps: number of denoising steps.
            guidance_scale: guidance scale of the prompt.
            expression_guidance_scale: guidance scale of the expression.
            assignment: (driver, face) or None for each face of the portrait, left to right.
            masks: region of each person, (H, W) or (F, H, W), bool or in [0, 1] or uint8, of the portrait's size.
            image_tracks, driver_tracks: faces of the portrait and of each driver; by default, found with MediaPipe.
            generator: source of the initial noise; by default, seeded with `seed`.
            latents: initial noise (1, 16, f, h, w).
            output_type: `np`, `pt`, `pil` or `latent`.
            return_dict: return an object with `frames` rather than a tuple.
            callback_on_step_end: called as `callback(pipe, step, timestep, {"latents": latents})` after each step; it
                returns a dict, whose `latents`, if there are any, replace those of the next step.
            callback_on_step_end_tensor_inputs: names of the tensors for the callback; only `latents` is known.
            options: further fields of `SamplingConfig`, such as `mouth`, `window`, `cache` or `max_side`.

        Raises:
            UserError: an argument is wrong.
            ItemError: no face is found in a driver, or the model returned NaN.
        """
        if output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type is {output_type!r}; expected one of {', '.join(OUTPUT_TYPES)}")
        if unknown := set(callback_on_step_end_tensor_inputs) - {"latents"}:
            raise UserError(f"callback_on_step_end_tensor_inputs has {sorted(unknown)}; expected ['latents']")
        if renamed := sorted(set(options) & set(RENAMED)):
            raise UserError(f"{renamed[0]} is an option of the command line; expected {RENAMED[renamed[0]]} here")
        options |= {"steps": num_inference_steps, "text_guidance": guidance_scale, "fps": fps}
        options |= {"expression_guidance": expression_guidance_scale, "frames": num_frames or 0}
        options |= {"prompt": prompt, "negative_prompt": negative_prompt, "size": _size(height, width)}
        config = from_dict(SamplingConfig, options)
        self.pipeline.check(config)
        videos = [to_frames(video, f"driver {i}")[: num_frames or None] for i, video in enumerate(drivers)]
        tracks = driver_tracks or [find_tracks(video, fps) for video in videos]
        people = [_select(found, len(video), i) for i, (found, video) in enumerate(zip(tracks, videos, strict=True))]
        inputs = self._prepare(to_frames([image], "image")[0], image_tracks, people, config, assignment, masks)
        found = self.pipeline.denoise_latents(
            inputs,
            config,
            motions=self._encode(videos, inputs),
            noise=_noise(inputs, latents, generator),
            on_step_end=self._step_callback(callback_on_step_end, config),
        )
        if output_type == "latent":
            frames: Any = found
        else:
            frames = to_output(list(self.pipeline.decode_latents(found, inputs, config)), output_type)
        return FantasyPortraitPipelineOutput(frames=frames) if return_dict else (frames,)

    def _prepare(
        self,
        image: np.ndarray,
        tracks: FaceTracks | None,
        people: Sequence[list[FacePoints]],
        config: SamplingConfig,
        assignment: Assignment | None,
        masks: Sequence[Any] | None,
    ) -> Inputs:
        regions = None
        if masks:
            check_mask_settings(len(masks), config)
            size = image.shape[1::-1]
            regions = [check_mask(str(i), to_masks(mask, f"mask {i}"), size) for i, mask in enumerate(masks)]
        boxes = mask_boxes(regions) if regions else select_boxes(tracks or find_tracks(image[None], 1.0))
        names = [Path(f"driver {i}") for i in range(len(people))]
        return build_inputs(
            image, boxes, people, config,
            assignment=assignment, regions=regions, fps=config.fps, portrait=Path("image"), drivers=names,
        )  # fmt: skip

    def _encode(self, videos: Sequence[np.ndarray], inputs: Inputs) -> dict[int, list[FaceMotion]]:
        encoder = self.pipeline.expression_encoder
        return {i: encode_motion(videos[i], people, encoder) for i, people in inputs.driver_faces.items()}

    def _step_callback(self, callback: StepCallback | None, config: SamplingConfig) -> OnStepEnd | None:
        if callback is None:
            return None
        timesteps = 1000 * compute_sigmas(config.steps, config.shift)

        def on_step_end(step: int, latents: Tensor) -> Tensor:
            return (callback(self, step, timesteps[step], {"latents": latents}) or {}).get("latents", latents)

        return on_step_end


def find_tracks(frames: np.ndarray, fps: float) -> FaceTracks:
    """Return the face tracks of frames (F, H, W, 3) uint8 RGB, found with MediaPipe."""
    tracker = FaceTracker(landmarker(), fps=fps)
    for frame in frames:
        tracker.update(frame)
    return collect(tracker, "")


def _select(tracks: FaceTracks, num_frames: int, driver: int) -> list[FacePoints]:
    if tracks.num_frames < num_frames:
        raise UserError(f"driver_tracks[{driver}] has {tracks.num_frames} frames; the driver has {num_frames}")
    people = select_people(tracks.first(num_frames))
    if not people:
        raise UserError(f"no face is seen in half of the frames of driver {driver}")
    return people


def _size(height: int | None, width: int | None) -> str:
    if (height is None) != (width is None):
        raise UserError("only one of height and width is given; give both or neither")
    return f"{width}x{height}" if width else ""


def _noise(inputs: Inputs, latents: Tensor | None, generator: torch.Generator | None) -> Tensor | None:
    """Return the initial noise; None if it is drawn from the seed."""
    shape = latent_shape(inputs)
    if latents is not None:
        if tuple(latents.shape) != shape:
            raise UserError(f"latents is {tuple(latents.shape)}; expected {shape}")
        return latents
    if generator is None:
        return None
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
