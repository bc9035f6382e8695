"""The values that a search tries for one key path of its experiment."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from ich_keras.experiment.schema import Positive
from ich_keras.experiment.sections import Section

TYPES = {bool, int, float, str}  # of values that KerasTuner accepts


class Range(Section):
    """Numbers from `min` to `max`, both included."""

    min: float
    max: float
    step: Annotated[float, Field(gt=0)] | None = None
    """Distance between two numbers. None: any number; a grid takes ten."""
    log: bool = False
    """Whether equal ratios are equally likely, and the step is a factor."""

    @model_validator(mode="after")
    def _not_empty(self) -> "Range":
        if self.min >= self.max:
            raise ValueError(f"expected min below max, got min {self.min:g} and max {self.max:g}")
        if self.log and self.min <= 0:
            raise ValueError(f"expected min above 0 if log is true, got {self.min:g}")
        if self.log and self.step is not None and self.step <= 1:
            raise ValueError(f"expected step above 1 if log is true, got {self.step:g}")
        reach = self.max / self.min if self.log else self.max - self.min
        if self.step is not None and self.step > reach:
            raise ValueError(f"expected step at most {reach:g}, from min to max, got {self.step:g}")
        return self


class IntRange(Range):
    """Integers from `min` to `max`, both included."""

    min: int
    max: int
    step: Positive | None = None
    """Distance between two numbers. None: 1, or any if log is true."""


DIMENSION_KINDS = ("choice", "int", "float", "fixed")


class Dimension(Section):
    """The values of one key path of the experiment; exactly one of the first four keys."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """A list of values."""
    int: IntRange | None = None
    """Integers, with min and max, and optionally step and log."""
    float: Range | None = None
    """Numbers, with min and max, and optionally step and log."""
    fixed: Any = None
    """One value, which replaces that of the experiment."""
    when: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Other keys of the search, and those of their values with which this key is searched."""

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return self.fixed is None and (self.choice is None or len(self.choice) > 1)

    @field_validator("choice")
    @classmethod
    def _one_type(cls, values: tuple | None) -> tuple | None:
        """Refuses values of several types, which KerasTuner would refuse later."""
        types = {type(value) for value in values or ()}
        if values and types == {int, float}:
            values = tuple(map(float, values))
        elif len(types) > 1 or not types <= TYPES:
            raise ValueError("expected numbers, strings or booleans, all of one type")
        if values and len(set(values)) < len(values):
            raise ValueError("expected no value twice")
        return values

    @model_validator(mode="after")
    def _exactly_one(self) -> "Dimension":
        if sum(getattr(self, name) is not None for name in DIMENSION_KINDS) != 1:
            raise ValueError("expected exactly one of choice, int, float, fixed")
        if self.fixed is not None and type(self.fixed) not in TYPES:
            raise ValueError("expected fixed to be a number, a string or a boolean")
        return self
