"""The sections of an experiment file. Each default is written at its field and nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ich_keras.experiment.sections import Section

Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a folder of runs


class AugmentationConfig(Section):
    """Random changes of a training slice; 0 and false leave it as it is."""

    flip: bool = False
    """Whether half of the slices are flipped left to right, at random."""
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotated by at most this, either way."""
    scale: Share = 0.0
    """Enlarged or reduced by at most this share."""
    shift: Share = 0.0
    """Moved along each axis by at most this share of the size."""
    grey: Share = 0.0
    """Contrast and brightness changed by at most this share of the range."""


class DataConfig(Section):
    """What is read."""

    shards: str | None = None
    """Folder of shards. The option --shards goes before it, $ICH_SHARDS after."""
    size: Annotated[int, Field(ge=16)] | None = None
    """Edge of a slice, pixels; smaller than the shards' by averaging areas. None: the shards'."""
    windows: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of windows, in the order of the channels. None: all that the shards have."""
    neighbours: Annotated[int, Field(ge=0)] | None = None
    """Slices below and above that stand beside each one. None: as many as the shards have."""
    augmentation: AugmentationConfig = AugmentationConfig()
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How evenly control and the five kinds are shown in training: 0 as they come, 0.5 by the
    square root of their number, 1 each equally often. Probabilities then follow the prevalence
    shown, not that of the data."""
    shuffle_buffer: Positive = 2048
    """Encoded records among which the next is drawn; shards are random samples already."""

    @field_validator("windows")
    @classmethod
    def _each_window_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("expected no window twice")
        return names


class ModelConfig(Section):
    """The network."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 64, 128)
    """Features of each stage; the first is at half the resolution of the slice, and each further
    one halves it again."""
    blocks: Positive = 1
    """Residual blocks a stage."""
    normalization: Literal["batch", "none"] = "batch"
    """Of the sum of each block from the second stage on."""
    pooling: Literal["max", "average", "logsumexp"] = "logsumexp"
    """From class maps to the slice; on phantoms, in as many steps, logsumexp has a mean AUC of .976
    where max has .963."""
    dropout: Share = 0.0
    """Share of whole feature maps that are dropped before the class maps."""
    weights: str | None = None
    """The best.keras of a run to start from; its slices may have had any size."""


class LabelWeights(Section):
    """How much each label counts in the loss, next to the others."""

    epidural: AboveZero = 1.0
    intraparenchymal: AboveZero = 1.0
    intraventricular: AboveZero = 1.0
    subarachnoid: AboveZero = 1.0
    subdural: AboveZero = 1.0
    any: AboveZero = 1.0


class CallbackConfig(Section):
    """A Keras callback that watches the run; its code is trusted as the experiment file is."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """Where Python finds it: package.module.Class."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What it is made with, by name."""


class TrainingConfig(Section):
    """The run, counted in steps of one batch."""

    max_steps: Positive
    """Steps to train for."""
    batch_size: Positive
    """Slices a step, over all devices."""
    loss: Literal["mse", "bce", "focal", "weighted_log_loss"] = "mse"
    """Squared error, cross-entropy, focal loss, or the score of the challenge."""
    label_weights: LabelWeights = LabelWeights()
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov's momentum of 0.9."""
    learning_rate: AboveZero
    """At its highest, after the warm-up."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the learning rate stays, or falls to zero at max_steps."""
    warmup_steps: Annotated[int, Field(ge=0)] = 256
    """Steps over which the learning rate rises from zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    """Decoupled from the gradient; biases and normalisation do not decay."""
    validate_every: Positive = 1000
    """Steps between two validations. The state is saved as often, for a run to be resumed."""
    validation_slices: Positive | None = None
    """Slices of a validation, always the same random sample of the split. None: the whole split."""
    figure_every: Positive = 10_000
    """Steps between two class grids."""
    log_every: Positive = 100
    """Steps between two rows of the history."""
    monitor: Literal["mean_auc", "loss", "weighted_log_loss"] = "mean_auc"
    """The score of a validation by which best.keras is picked."""
    patience: Positive | None = None
    """Validations without a better score after which the run ends. None: it does not."""
    strategy: Literal["auto", "one", "mirrored", "multi_worker"] = "auto"
    """The devices: one, all GPUs of the machine, those of all workers of TF_CONFIG; auto takes the
    last that applies."""
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    """Of the computation; auto is bfloat16 on GPUs that have it, and float32 elsewhere."""
    jit_compile: bool | Literal["auto"] = "auto"
    """Whether XLA compiles the step; auto does on a single GPU, unless deterministic."""
    deterministic: bool = True
    """Whether the same run again gives the same bits, which costs speed on GPUs."""
    callbacks: tuple[CallbackConfig, ...] = ()
    """Keras callbacks that watch the run, such as mlflow.keras.MlflowCallback."""

    @model_validator(mode="after")
    def _xla_can_compile(self) -> "TrainingConfig":
        """Refuses what XLA does not compile; `distribution.py` knows the devices of `auto`."""
        if self.jit_compile is True and self.deterministic:
            raise ValueError(
                "jit_compile true and deterministic true exclude each other, as XLA has no"
                " deterministic gradient of max pooling; set deterministic to false, or jit_compile"
                " to auto"
            )
        if self.jit_compile is True and self.strategy in ("mirrored", "multi_worker"):
            raise ValueError(
                f"jit_compile true and strategy {self.strategy} exclude each other, as XLA compiles"
                " the step of one device; set jit_compile to auto, or strategy to one"
            )
        return self


class EvaluationConfig(Section):
    """How a run is judged."""

    batch_size: Positive = 64
    """Slices at a time."""
    bootstrap_draws: Positive = 1000
    """Draws of patients, for the intervals."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From which a probability counts as yes in sensitivity, specificity and accuracy."""
