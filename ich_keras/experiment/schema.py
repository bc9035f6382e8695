"""The sections of an experiment file; each default is written at its field and nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ich_keras.experiment.sections import Section

Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a folder of runs


class AugmentationConfig(Section):
    """Random changes of training slices; 0 and false change nothing."""

    flip: bool = False
    """Whether half of the slices, drawn at random, are flipped left to right."""
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation in either direction."""
    scale: Share = 0.0
    """Largest enlargement or reduction, as a share."""
    shift: Share = 0.0
    """Largest shift along each axis, as a share of the size."""
    grey: Share = 0.0
    """Largest change of contrast and brightness, as a share of the range."""


class DataConfig(Section):
    """What is read from the shards."""

    shards: str | None = None
    """Folder of shards. The option --shards takes precedence; $ICH_SHARDS is the default."""
    size: Annotated[int, Field(ge=16)] | None = None
    """Edge of a slice in pixels; slices of larger shards are reduced by averaging areas. None: the
    size of the shards."""
    windows: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of windows, in the order of the channels. None: all windows of the shards."""
    neighbours: Annotated[int, Field(ge=0)] | None = None
    """Slices below and above each slice that the network sees too. None: as many as the shards
    have."""
    augmentation: AugmentationConfig = AugmentationConfig()
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How evenly training shows controls and the five subtypes: 0 as they occur, 0.5 by the square
    root of their number, 1 equally often. Probabilities then follow the prevalence shown, not that
    of the data."""
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
    """Features of each stage. The first stage has half the resolution of the slice, and each
    further stage half that of the one before."""
    blocks: Positive = 1
    """Residual blocks per stage."""
    normalization: Literal["batch", "none"] = "batch"
    """Normalization of the sum of each block, from the second stage on."""
    pooling: Literal["max", "average", "logsumexp"] = "logsumexp"
    """From class maps to the slice. On phantoms, after the same number of steps, logsumexp has a
    mean AUC of .976 and max of .963."""
    dropout: Share = 0.0
    """Share of whole feature maps that are dropped before the class maps."""
    weights: str | None = None
    """The best.keras of a run to start from, or the name of a shipped network: `phantom`. Its
    slices may have had any size."""


class LabelWeights(Section):
    """Weight of each label in the loss, relative to the others."""

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
    """Its keyword arguments."""


class TrainingConfig(Section):
    """The training, counted in steps of one batch."""

    max_steps: Positive
    """Steps to train for."""
    batch_size: Positive
    """Slices per step, over all devices."""
    loss: Literal["mse", "bce", "focal", "weighted_log_loss"] = "mse"
    """Squared error, cross-entropy, focal loss, or the score of the challenge."""
    label_weights: LabelWeights = LabelWeights()
    map_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the cross-entropy between class maps and masks, which is added to the loss where
    the shards hold masks (convert --masks). 0 trains by the labels of slices alone."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum of 0.9."""
    learning_rate: AboveZero
    """The highest learning rate, reached after the warm-up."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the learning rate stays constant or falls to zero at max_steps."""
    warmup_steps: Annotated[int, Field(ge=0)] = 256
    """Steps over which the learning rate rises from zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    """Decoupled from the gradient; biases and normalization do not decay."""
    validate_every: Positive = 1000
    """Steps between two validations. The state is saved as often, so that the run can resume."""
    validation_slices: Positive | None = None
    """Slices per validation, always the same random sample of the split. None: the whole split."""
    figure_every: Positive = 10_000
    """Steps between two class grids."""
    log_every: Positive = 100
    """Steps between two rows of the history."""
    monitor: Literal["mean_auc", "loss", "weighted_log_loss"] = "mean_auc"
    """The score of a validation by which best.keras is chosen."""
    patience: Positive | None = None
    """Validations without a better score after which the run ends. None: it does not end early."""
    strategy: Literal["auto", "one", "mirrored", "multi_worker"] = "auto"
    """The devices: one, all GPUs of the machine, or those of all workers of TF_CONFIG. auto takes
    the last of these that applies."""
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    """Precision of the computation. auto is bfloat16 on GPUs since Ampere, float16 on Volta and
    Turing, otherwise float32."""
    jit_compile: bool | Literal["auto"] = "auto"
    """Whether XLA compiles the step; auto does on a single GPU."""
    deterministic: bool = True
    """Whether the same run again gives the same bits, which costs speed on GPUs."""
    callbacks: tuple[CallbackConfig, ...] = ()
    """Keras callbacks that watch the run, such as mlflow.keras.MlflowCallback."""

    @model_validator(mode="after")
    def _xla_can_compile(self) -> "TrainingConfig":
        """Refuses what XLA cannot compile; the devices of `auto` are known later."""
        if self.jit_compile is True and self.strategy in ("mirrored", "multi_worker"):
            raise ValueError(
                f"jit_compile true and strategy {self.strategy} exclude each other, as XLA compiles"
                " the step of one device; set jit_compile to auto, or strategy to one"
            )
        return self


class EvaluationConfig(Section):
    """How a run is scored."""

    batch_size: Positive = 64
    """Slices per batch."""
    mirror: bool = False
    """Whether the network answers with the mean of a slice and its mirror image, in scores,
    predictions and exports alike: better on heads unlike those it was trained on, in twice the
    time. For networks that were trained with `data.augmentation.flip`."""
    bootstrap_draws: Positive = 1000
    """Bootstrap samples of patients, for the intervals."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Lowest probability that counts as positive in sensitivity, specificity and accuracy."""
