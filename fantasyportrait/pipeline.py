"""Pipeline: a loaded model that generates videos from prepared inputs, as many as needed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exprbench.core.errors import ItemError, UserError
from exprbench.core.progress import progress, say
from exprbench.media import write_image, write_video
from fantasyportrait.backbone import (
    DTYPES,
    available_vram_gib,
    check_attention,
    choose_attention,
    load_backbone,
    load_loras,
    resolve_device,
    set_memory_limit,
)
from fantasyportrait.checkpoints.layout import PROMPT_FILE
from fantasyportrait.checkpoints.loading import (
    check_model_folder,
    load_adapter,
    load_expression_encoder,
    load_image_encoder,
    load_text_encoder,
    load_vae,
)
from fantasyportrait.checkpoints.lora import Lora
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.tensors import open_tensors
from fantasyportrait.colour_matching import match_colour
from fantasyportrait.diffusion.denoise import Conditioning, OnStep, OnStepEnd, denoise
from fantasyportrait.diffusion.flow_matching import compute_sigmas, guidance_branches, initial_noise
from fantasyportrait.diffusion.step_cache import StepCache
from fantasyportrait.diffusion.windows import Window
from fantasyportrait.expression.driver import FaceMotion, LandmarkDetector, extract_motion
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.inputs import Inputs, attention_mask, compute_face_boxes
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.context_parallel import shard_tokens
from fantasyportrait.model.motion_tokens import MotionTokens, compute_motion_tokens
from fantasyportrait.model.text_image_encoders import encode_image, encode_prompt, tokenize_prompt
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.model.vae import decode, image_condition
from fantasyportrait.portrait import resize
from fantasyportrait.runtime.memory import GIB, MemoryPlan, Workload, choose_plan
from fantasyportrait.runtime.parallel import Ranks, init_distributed
from fantasyportrait.settings import RuntimeConfig, SamplingConfig
from fantasyportrait.step_skipping import build_step_cache, check_one_process, describe_cache, store_measured_ratios
from fantasyportrait.watermark import add_watermark, build_generation_metadata
from fantasyportrait.workload import build_windows, estimate_workload, latent_shape

NUM_PREVIEWS = 10  # images per video, spread over its steps


@dataclass
class Pipeline:
    """Model folder on a device. Each component is loaded on first use.

    Between uses only the backbone stays on the GPU, and only if the memory plan does not offload it.
    """

    folder: ModelFolder
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    loras: Sequence[Lora] = ()
    landmark_detector: LandmarkDetector | None = None
    skipped_share: float = 0.0  # of the evaluations of the last video with a step cache
    _plan: MemoryPlan | None = None
    _backbone: MotionTransformer | None = None
    _prompts: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def device(self) -> torch.device:
        """Return the device to compute on."""
        return resolve_device(self.runtime.device)

    @cached_property
    def ranks(self) -> Ranks:
        """Return this process's position among those that torchrun started."""
        return init_distributed(
            device=self.device,
            guidance_parallel=self.runtime.guidance_parallel,
            context_parallel=self.runtime.context_parallel,
            num_heads=self.folder.base.backbone.num_attention_heads,
        )

    @cached_property
    def expression_encoder(self) -> ExpressionEncoder:
        """Return the PD-FGC encoder, on the device."""
        return load_expression_encoder(self.folder, device=self.device)

    @cached_property
    def adapter(self) -> MotionAdapter:
        """Return the motion adapter, in CPU memory and float32."""
        return load_adapter(self.folder)

    @cached_property
    def vae(self) -> Any:
        """Return the VAE, in CPU memory and float32."""
        return load_vae(self.folder.base)

    @cached_property
    def image_encoder(self) -> Any:
        """Return the CLIP image encoder, in CPU memory and float32."""
        return load_image_encoder(self.folder.base)

    def encode_prompt(self, text: str) -> Tensor:
        """Return the embedding (1, 512, text_dim) of a prompt; the empty prompt's is read from the model folder."""
        if text not in self._prompts:
            self._prompts[text] = self._compute_prompt_embedding(text)
        return self._prompts[text]

    def _compute_prompt_embedding(self, text: str) -> Tensor:
        empty_prompt = self.folder.path / PROMPT_FILE
        if not text.strip() and empty_prompt.is_file():
            return open_tensors(empty_prompt)["empty"]
        encoder = load_text_encoder(self.folder.base)
        with self._on_gpu(encoder):
            return encode_prompt(encoder, tokenize_prompt(text, self.folder.base.tokenizer))

    @contextmanager
    def _on_gpu(self, module: nn.Module) -> Iterator[None]:
        """Move a module to the GPU for a block and back to CPU memory; a module that does not fit is not moved."""
        try:
            if 1.2 * _num_bytes(module) / GIB < available_vram_gib(self.device, self.runtime.vram):
                module.to(self.device)
            yield
        finally:
            module.to("cpu")

    def check(self, config: SamplingConfig) -> None:
        """Check that the settings can be carried out, without reading weights.

        Raises:
            UserError: there is no such device or attention kernel; a prompt is given but the base has no tokenizer or
                text encoder; the step cache cannot be used.
        """
        _ = self.device
        check_attention(self.runtime.attention)
        build_step_cache(self.folder, config, self.loras)
        texts = [config.prompt, config.negative_prompt] if config.text_guidance != 1 else [config.prompt]
        if all(not text.strip() for text in texts) and (self.folder.path / PROMPT_FILE).is_file():
            return
        self.folder.base.files("text encoder")
        for text in texts:
            tokenize_prompt(text, self.folder.base.tokenizer)

    def plan_memory(self, workload: Workload) -> MemoryPlan:
        """Return the memory plan, chosen for the first workload and kept for all that follow.

        Processes that share a video get the same plan.
        """
        if self._plan is None:
            limits = set_memory_limit(self.device, self.runtime.vram)
            vram_gib, ram_gib = self.ranks.agree_on_minimum(limits, self.device)
            weights, offload = self.runtime.weights, self.runtime.offload
            if self.device.type == "cpu":
                weights = "fp32" if weights == "auto" else weights
                offload = "none" if offload == "auto" else offload
            self._plan = choose_plan(workload, vram_gib=vram_gib, ram_gib=ram_gib, weights=weights, offload=offload)
            if self.device.type == "cuda" and self.ranks.is_writer:
                say(str(self._plan))
        return self._plan

    def get_backbone(self, workload: Workload) -> MotionTransformer:
        """Return the backbone, loaded as the memory plan requires."""
        if self._backbone is None:
            plan = self.plan_memory(workload)
            self._backbone = load_backbone(self.folder.base, plan, self.runtime, self.device, self.loras)
            choose_attention(self._backbone, self.runtime.attention, self.device, workload.num_tokens)
            shard_tokens(self._backbone, self.ranks.shards)
        return self._backbone

    def extract_motions(self, inputs: Inputs) -> dict[int, list[FaceMotion]]:
        """Extract the motion of every face of the drivers in use, by the driver's index."""
        motions = {}
        for i, faces in inputs.driver_faces.items():
            motions[i] = extract_motion(
                inputs.drivers[i],
                faces,
                encoder=self.expression_encoder,
                encoder_name=self.folder.manifest["expression"]["sha256"],
                fps=inputs.fps,
            )
        for i, j in filter(None, inputs.assignment):
            if num_filled := motions[i][j].num_filled:
                say(f"{inputs.drivers[i].name}: face {j} was lost in {num_filled} frames, which were interpolated")
        return motions

    def encode_conditioning(
        self, inputs: Inputs, config: SamplingConfig, num_latent_frames: int, tile: int | None
    ) -> Conditioning:
        """Encode the prompts and the portrait, the latter as image embedding and as latents of one window."""
        prompts = {branch.prompt for branch in guidance_branches(config.expression_guidance, config.text_guidance)}
        texts = {"positive": config.prompt, "negative": config.negative_prompt}
        with self._on_gpu(self.image_encoder):
            image = encode_image(self.image_encoder, inputs.image)
        with self._on_gpu(self.vae):
            portrait = image_condition(self.vae, inputs.image, num_latent_frames, tile=tile)
        return Conditioning({name: self.encode_prompt(texts[name]) for name in sorted(prompts)}, image, portrait)

    @torch.no_grad()
    def compute_motion_tokens(
        self,
        inputs: Inputs,
        config: SamplingConfig,
        plan: MemoryPlan,
        windows: Sequence[Window],
        motions: dict[int, list[FaceMotion]],
    ) -> list[MotionTokens]:
        """Compute the motion keys and values of every layer, once per window."""
        num_frames = 4 * inputs.num_latent_frames - 3
        features = np.stack(
            [motions[i][j].pad_or_trim(num_frames).features for i, j in filter(None, inputs.assignment)]
        )
        face_boxes = compute_face_boxes(inputs, motions, config)
        return [
            compute_motion_tokens(
                self.adapter,
                torch.from_numpy(features[:, window.frame_slice]),
                mask=attention_mask(inputs, face_boxes, window, config),
                strengths=[config.strengths] * len(features),
                strength=config.strength,
                device=self.device,
                dtype=DTYPES[plan.weights],
                keep_on={"device": self.device, "host": "cpu", "recompute": "recompute"}[plan.keys],
            )
            for window in windows
        ]

    def sample(self, inputs: Inputs, config: SamplingConfig, *, preview: Path | None = None) -> Iterator[np.ndarray]:
        """Yield the frames of a video, (H, W, 3) uint8 RGB; denoising is complete before the first frame.

        Raises:
            ItemError: `not_finite`, if the latents have NaN or infinite values.
        """
        latents = self.denoise_latents(inputs, config, preview=preview)
        yield from self.decode_latents(latents, inputs, config)

    def denoise_latents(
        self,
        inputs: Inputs,
        config: SamplingConfig,
        *,
        motions: dict[int, list[FaceMotion]] | None = None,
        noise: Tensor | None = None,
        preview: Path | None = None,
        on_step_end: OnStepEnd | None = None,
    ) -> Tensor:
        """Return the latents (1, 16, f, h, w) of a video, on the device.

        Args:
            inputs: portrait and drivers.
            config: sampling settings.
            motions: motion of the faces of each driver; by default, extracted from the files of `inputs`.
            noise: (1, 16, f, h, w); by default, drawn from the seed.
            preview: folder for preview images.
            on_step_end: see `denoise`.

        Raises:
            UserError: the step cache cannot be used, see `build_step_cache`.
            ItemError: `not_finite`, if the latents have NaN or infinite values.
        """
        check_one_process(config, self.ranks)
        cache = build_step_cache(self.folder, config, self.loras)
        windows = build_windows(inputs.num_latent_frames, config)
        workload = estimate_workload(self.folder, inputs, windows, self.runtime.context_parallel, config)
        plan = self.plan_memory(workload)
        if motions is None:
            motions = self.extract_motions(inputs)
        conditioning = self.encode_conditioning(inputs, config, windows[0].stop - windows[0].start, plan.tile)
        if noise is None:
            noise = initial_noise(latent_shape(inputs), config.seed)
        latents = denoise(
            self.get_backbone(workload),
            noise.to(self.device, torch.float32),
            conditioning.to(self.device, DTYPES[plan.weights]),
            sigmas=compute_sigmas(config.steps, config.shift),
            branches=guidance_branches(config.expression_guidance, config.text_guidance),
            windows=windows,
            motions=self.compute_motion_tokens(inputs, config, plan, windows, motions),
            ranks=self.ranks,
            motion_steps=config.motion_steps,
            cache=cache,
            anchor_identity=config.anchor in ("identity", "both"),
            progress=self._progress_bar(inputs.portrait.name, config.steps),
            on_step=self._preview_writer(preview, config.steps, plan.tile)
            if preview and self.ranks.is_writer
            else None,
            on_step_end=on_step_end,
        )
        if not torch.isfinite(latents).all():
            raise ItemError("not_finite", "the model returned NaN or infinite values; try --weights bf16")
        if cache:
            self._report_cache(cache, config)
        return latents

    def _report_cache(self, cache: StepCache, config: SamplingConfig) -> None:
        self.skipped_share = cache.num_skipped / cache.num_evaluations
        if config.cache == "calibrate":
            say(f"the ratios for --cache mag are in {store_measured_ratios(cache, self.folder, config, self.loras)}")
        elif self.ranks.is_writer:
            say(f"--cache mag skipped {cache.num_skipped} of {cache.num_evaluations} evaluations of the backbone")

    def decode_latents(self, latents: Tensor, inputs: Inputs, config: SamplingConfig) -> Iterator[np.ndarray]:
        """Yield the frames of latents, (H, W, 3) uint8 RGB; processes that only share the computation yield none."""
        if not self.ranks.is_writer:
            return
        plan, windows = self._plan, build_windows(inputs.num_latent_frames, config)
        with self._on_gpu(self.vae):
            frames = decode(self.vae, latents, tile=plan.tile if plan else None)
            if config.anchor in ("colour", "both") and len(windows) > 1:
                frames = match_colour(frames, windows[0].frame_slice.stop)
            for t, frame in enumerate(frames):
                if t < inputs.num_frames:
                    yield resize(frame, inputs.transform.output_size)

    def _report_out_of_memory(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        try:
            yield from frames
        except torch.OutOfMemoryError as error:
            raise UserError(
                "the GPU ran out of memory; set --vram to the GiB it may use, or lower --max-side"
            ) from error

    def _progress_bar(self, label: str, num_steps: int) -> Callable[[Iterable[int]], Iterable[int]]:
        if not self.ranks.is_writer:  # one process of several reports progress
            return iter
        return lambda steps: progress(steps, total=num_steps, label=label, unit="step")

    def _preview_writer(self, folder: Path, num_steps: int, tile: int | None) -> OnStep:
        interval = max(1, num_steps // NUM_PREVIEWS)

        def write_preview(step: int, latents: Tensor) -> None:
            if step % interval == 0 or step == num_steps - 1:
                indices = sorted({0, latents.shape[2] // 2, latents.shape[2] - 1})
                with self._on_gpu(self.vae):
                    images = [next(decode(self.vae, latents[:, :, i : i + 1], tile=tile)) for i in indices]
                write_image(folder / f"step-{step + 1:03d}.png", np.concatenate(images, 1))

        return write_preview

    def generate_video(
        self,
        inputs: Inputs,
        config: SamplingConfig,
        out: Path,
        *,
        audio: bool = False,
        watermark: bool = False,
        preview: Path | None = None,
        details: dict[str, Any] | None = None,
    ) -> int:
        """Generate a video, write it to `out`, and return its number of frames.

        If generation fails, no file is written. Processes that only share the computation write nothing and return 0.
        `details` are further entries of the metadata.

        Raises:
            UserError: the GPU ran out of memory.
            ItemError: `not_finite`, see `sample`.
        """
        frames = self._report_out_of_memory(self.sample(inputs, config, preview=preview))
        if not self.ranks.is_writer:
            return sum(1 for _ in frames)
        record = {"checkpoint": self.folder.name, "seed": config.seed, "options": config.as_dict()}
        if self.loras:
            record["loras"] = [str(lora) for lora in self.loras]
        record |= describe_cache(self.folder, config) | (details or {})
        return write_video(
            out,
            add_watermark(frames) if watermark else frames,
            fps=inputs.fps,
            metadata=build_generation_metadata(record),
            audio=inputs.drivers[min(inputs.driver_faces)] if audio else None,
        )


def load_pipeline(
    model: Path | str,
    runtime: RuntimeConfig | None = None,
    *,
    loras: Sequence[str] = (),
    landmark_detector: LandmarkDetector | None = None,
) -> Pipeline:
    """Open a model folder and check its tensors by name and shape; weights are loaded on first use.

    Args:
        model: a folder written by `fantasyportrait.convert`.
        runtime: device, memory and parallelism.
        loras: LoRA files, given as `FILE` or `FILE:STRENGTH`.
        landmark_detector: by default, MediaPipe.

    Raises:
        UserError: the folder is incomplete, or its parts belong to different models.
    """
    folder = ModelFolder(Path(model))
    check_model_folder(folder)
    lora_files = load_loras(loras, folder.base) if loras else ()
    return Pipeline(folder, runtime or RuntimeConfig(), lora_files, landmark_detector)


def _num_bytes(module: nn.Module) -> int:
    return sum(p.nbytes for p in module.parameters())
