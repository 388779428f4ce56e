"""The loaded model, and a scene made into a video by it. Loaded once, it makes as many videos as are asked for."""

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
    check_attention,
    choose_attention,
    find_device,
    load_backbone,
    memory_gib,
    read_loras,
    room_gib,
)
from fantasyportrait.checkpoints.loading import (
    check,
    load_adapter,
    load_expression_encoder,
    load_image_encoder,
    load_text_encoder,
    load_vae,
)
from fantasyportrait.checkpoints.lora import Lora
from fantasyportrait.checkpoints.model_folder import PROMPT_FILE, ModelFolder
from fantasyportrait.checkpoints.tensors import open_tensors
from fantasyportrait.diffusion.denoise import Conditioning, OnStep, denoise
from fantasyportrait.diffusion.flow_matching import branches, initial_noise, schedule
from fantasyportrait.diffusion.windows import Window
from fantasyportrait.expression.driver import FaceMotion, PointFinder, read_motion
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.inputs import Inputs, attention_mask, face_boxes
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.context_parallel import shard_tokens
from fantasyportrait.model.motion_tokens import MotionTokens, motion_tokens
from fantasyportrait.model.text_image_encoders import embed_image, embed_prompt, token_ids
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.model.vae import decode, image_condition
from fantasyportrait.portrait import resize
from fantasyportrait.runtime.memory import GIB, MemoryPlan, Workload, choose
from fantasyportrait.runtime.parallel import Ranks, join
from fantasyportrait.settings import RuntimeConfig, SamplingConfig
from fantasyportrait.watermark import generation_metadata, mark
from fantasyportrait.workload import estimate_workload, latent_shape, windows_of

PREVIEWS = 10  # pictures a run, spread over its steps


@dataclass
class Pipeline:
    """A model folder on a machine. Parts are loaded when they are first needed.

    Nothing but the backbone stays on the GPU between uses, and that only where the plan has it whole.
    """

    folder: ModelFolder
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    loras: Sequence[Lora] = ()
    finder: PointFinder | None = None
    _plan: MemoryPlan | None = None
    _backbone: MotionTransformer | None = None
    _prompts: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def device(self) -> torch.device:
        """Where to compute."""
        return find_device(self.runtime.device)

    @cached_property
    def ranks(self) -> Ranks:
        """This process's place among those torchrun started."""
        return join(
            device=self.device,
            guidance=self.runtime.guidance_parallel,
            context=self.runtime.context_parallel,
            num_heads=self.folder.base.backbone.num_attention_heads,
        )

    @cached_property
    def expression_encoder(self) -> ExpressionEncoder:
        """PD-FGC."""
        return load_expression_encoder(self.folder, device=self.device)

    @cached_property
    def adapter(self) -> MotionAdapter:
        """What the paper adds."""
        return load_adapter(self.folder)

    @cached_property
    def vae(self) -> Any:
        """In main memory, in float32."""
        return load_vae(self.folder.base)

    @cached_property
    def image_encoder(self) -> Any:
        """In main memory, in float32."""
        return load_image_encoder(self.folder.base)

    def prompt(self, text: str) -> Tensor:
        """The embedding of a prompt; that of the empty one lies in the model folder."""
        if text not in self._prompts:
            self._prompts[text] = self._embed(text)
        return self._prompts[text]

    def _embed(self, text: str) -> Tensor:
        kept = self.folder.path / PROMPT_FILE
        if not text.strip() and kept.is_file():
            return open_tensors(kept)["empty"]
        encoder = load_text_encoder(self.folder.base)
        with self._on_gpu(encoder):
            return embed_prompt(encoder, token_ids(text, self.folder.base.tokenizer))

    @contextmanager
    def _on_gpu(self, module: nn.Module) -> Iterator[None]:
        """A module on the GPU while it works, then in main memory again; one too large for the GPU works there."""
        try:
            if 1.2 * _num_bytes(module) / GIB < room_gib(self.device, self.runtime.vram):
                module.to(self.device)
            yield
        finally:
            module.to("cpu")

    def check(self, options: SamplingConfig) -> None:
        """Refuse what could not be done, before anything is read.

        Raises:
            UserError: a prompt is given and the base has no tokenizer or text encoder for it; there is no such device
                or attention kernel.
        """
        _ = self.device
        check_attention(self.runtime.attention)
        texts = [options.prompt, options.negative_prompt] if options.text_guidance != 1 else [options.prompt]
        if all(not text.strip() for text in texts) and (self.folder.path / PROMPT_FILE).is_file():
            return
        self.folder.base.files("text encoder")
        for text in texts:
            token_ids(text, self.folder.base.tokenizer)

    def plan(self, workload: Workload) -> MemoryPlan:
        """What lies where: decided for the first clip, kept for all."""
        if self._plan is None:
            vram_gib, ram_gib = memory_gib(self.device, self.runtime.vram)
            weights, offload = self.runtime.weights, self.runtime.offload
            if self.device.type == "cpu":
                weights, offload = (
                    ("fp32" if weights == "auto" else weights),
                    ("none" if offload == "auto" else offload),
                )
            self._plan = choose(workload, vram_gib=vram_gib, ram_gib=ram_gib, weights=weights, offload=offload)
            if self.device.type == "cuda" and self.ranks.writes:
                say(str(self._plan))
        return self._plan

    def backbone(self, workload: Workload) -> MotionTransformer:
        """The backbone under the plan."""
        if self._backbone is None:
            self._backbone = load_backbone(self.folder.base, self.plan(workload), self.runtime, self.device, self.loras)
            choose_attention(self._backbone, self.runtime.attention, self.device, workload.num_tokens)
            shard_tokens(self._backbone, self.ranks.shards)
        return self._backbone

    def read_motions(self, inputs: Inputs) -> dict[int, list[FaceMotion]]:
        """What every face of the drivers in use expresses."""
        motions = {}
        for i, people in inputs.people.items():
            motions[i] = read_motion(
                inputs.drivers[i],
                people,
                encoder=self.expression_encoder,
                encoder_name=self.folder.about["expression"]["sha256"],
                fps=inputs.fps,
            )
        for i, j in filter(None, inputs.pairs):
            if filled := motions[i][j].num_filled:
                say(f"{inputs.drivers[i].name}: face {j} was lost in {filled} frames, which its neighbours fill")
        return motions

    def encode_conditioning(
        self, inputs: Inputs, options: SamplingConfig, num_latent: int, tile: int | None
    ) -> Conditioning:
        """What the backbone is told besides motion."""
        wanted = {branch.prompt for branch in branches(options.expression_guidance, options.text_guidance)}
        texts = {"positive": options.prompt, "negative": options.negative_prompt}
        with self._on_gpu(self.image_encoder):
            image = embed_image(self.image_encoder, inputs.image)
        with self._on_gpu(self.vae):
            portrait = image_condition(self.vae, inputs.image, num_latent, tile=tile)
        return Conditioning({name: self.prompt(texts[name]) for name in sorted(wanted)}, image, portrait)

    def motions(
        self,
        inputs: Inputs,
        options: SamplingConfig,
        plan: MemoryPlan,
        windows: Sequence[Window],
        found: dict[int, list[FaceMotion]],
    ) -> list[MotionTokens]:
        """Keys and values of every layer, for every window: here once, and never again for this clip."""
        count = 4 * inputs.num_latent - 3
        features = np.stack([found[i][j].frames(count).features for i, j in filter(None, inputs.pairs)])
        faces = face_boxes(inputs, found, options)
        return [
            motion_tokens(
                self.adapter,
                torch.from_numpy(features[:, window.frames]),
                mask=attention_mask(inputs, faces, window, options),
                strengths=[options.strengths] * len(features),
                strength=options.strength,
                device=self.device,
                dtype=DTYPES[plan.weights],
                keep_on={"device": self.device, "host": "cpu", "nowhere": "nowhere"}[plan.keys],
            )
            for window in windows
        ]

    def sample(self, inputs: Inputs, options: SamplingConfig, *, preview: Path | None = None) -> Iterator[np.ndarray]:
        """The frames of a video, (H, W, 3) uint8 RGB; denoised before the first one comes."""
        windows = windows_of(inputs.num_latent, options)
        workload = estimate_workload(self.folder, inputs, windows, self.runtime.context_parallel)
        plan = self.plan(workload)
        found = self.read_motions(inputs)
        conditioning = self.encode_conditioning(inputs, options, windows[0].stop - windows[0].start, plan.tile)
        noise = initial_noise(latent_shape(inputs), options.seed).to(self.device)
        latents = denoise(
            self.backbone(workload),
            noise,
            conditioning.to(self.device, DTYPES[plan.weights]),
            sigmas=schedule(options.steps, options.shift),
            branches=branches(options.expression_guidance, options.text_guidance),
            windows=windows,
            motions=self.motions(inputs, options, plan, windows, found),
            ranks=self.ranks,
            track=self._track(inputs.portrait.name, options.steps),
            on_step=self._previews(preview, options.steps, plan.tile) if preview and self.ranks.writes else None,
        )
        if not torch.isfinite(latents).all():
            raise ItemError("not_finite", "the model gave values that are no numbers; try --weights bf16")
        if not self.ranks.writes:
            return
        with self._on_gpu(self.vae):
            for t, frame in enumerate(decode(self.vae, latents, tile=plan.tile)):
                if t < inputs.num_frames:
                    yield resize(frame, inputs.fit.output)

    def _told_of_memory(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        try:
            yield from frames
        except torch.OutOfMemoryError as error:
            raise UserError(
                "the GPU ran out of memory; say with --vram how many GiB may be used, or lower --max-side"
            ) from error

    def _track(self, label: str, num_steps: int) -> Callable[[Iterable[int]], Iterable[int]]:
        if not self.ranks.writes:  # one voice is enough
            return iter
        return lambda steps: progress(steps, total=num_steps, label=label, unit="step")

    def _previews(self, folder: Path, num_steps: int, tile: int | None) -> OnStep:
        every = max(1, num_steps // PREVIEWS)

        def show(step: int, latents: Tensor) -> None:
            if step % every == 0 or step == num_steps - 1:
                at = sorted({0, latents.shape[2] // 2, latents.shape[2] - 1})
                with self._on_gpu(self.vae):
                    pictures = [next(decode(self.vae, latents[:, :, i : i + 1], tile=tile)) for i in at]
                write_image(folder / f"step-{step + 1:03d}.png", np.concatenate(pictures, 1))

        return show

    def make(
        self,
        inputs: Inputs,
        options: SamplingConfig,
        out: Path,
        *,
        sound: bool = False,
        marked: bool = False,
        preview: Path | None = None,
    ) -> int:
        """Write a scene's video, whole or not at all, and return its number of frames (0 on a helping process)."""
        frames = self._told_of_memory(self.sample(inputs, options, preview=preview))
        if not self.ranks.writes:
            return sum(1 for _ in frames)
        record = {"checkpoint": self.folder.name, "seed": options.seed, "options": options.as_dict()}
        if self.loras:
            record["loras"] = [str(lora) for lora in self.loras]
        return write_video(
            out,
            mark(frames) if marked else frames,
            fps=inputs.fps,
            metadata=generation_metadata(record),
            audio=inputs.drivers[min(inputs.people)] if sound else None,
        )


def load_pipeline(
    model: Path | str,
    runtime: RuntimeConfig | None = None,
    *,
    loras: Sequence[str] = (),
    finder: PointFinder | None = None,
) -> Pipeline:
    """A model folder, checked by its headers.

    Raises:
        UserError: it is incomplete, or its parts do not belong together.
    """
    folder = ModelFolder(Path(model))
    check(folder)
    return Pipeline(folder, runtime or RuntimeConfig(), read_loras(loras, folder.base) if loras else (), finder)


def _num_bytes(module: nn.Module) -> int:
    return sum(p.nbytes for p in module.parameters())
