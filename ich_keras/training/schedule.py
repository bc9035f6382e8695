"""What happens after which step of a run, and what a validation changes."""

from dataclasses import dataclass, replace

from ich_keras.experiment.schema import TrainingConfig
from ich_keras.run.state import Position

HIGHER_IS_BETTER = {"mean_auc": True, "loss": False, "weighted_log_loss": False}
FORWARD_PASSES_PER_STEP = 3  # one forward, and a backward pass of about twice its cost


@dataclass(frozen=True)
class Schedule:
    """What happens after which step."""

    config: TrainingConfig  # its intervals are in steps
    end: int  # the last step
    validate_each_interval: bool  # whether there are validations before the last step

    def saves(self, step: int) -> bool:
        """Whether the state is saved, so that the run can be resumed there."""
        return step == self.end or step % self.config.validate_every == 0

    def validates(self, step: int) -> bool:
        return self.saves(step) and (self.validate_each_interval or step == self.end)

    def draws(self, step: int) -> bool:
        """Whether the class grid is drawn."""
        return step == self.end or step % self.config.figure_every == 0

    def logs(self, step: int) -> bool:
        """Whether the history gets a row."""
        return self.saves(step) or self.draws(step) or step % self.config.log_every == 0

    def next_log(self, step: int) -> int:
        """The next step after this one of which the history gets a row."""
        return next(x for x in range(step + 1, self.end + 1) if self.logs(x))

    def validation_share(self, slices: int) -> float:
        """Returns the share of a validation of so many slices in the multiply-adds, 0..1."""
        interval = self.config.validate_every if self.validate_each_interval else self.end
        trained = min(interval, self.end) * self.config.batch_size
        return slices / (slices + FORWARD_PASSES_PER_STEP * trained)


def is_better(monitor: str, value: float, best: float | None) -> bool:
    """Whether a value of the monitored score is better than the best so far, if there is one."""
    if best is None:
        return True
    return value > best if HIGHER_IS_BETTER[monitor] else value < best


def position_after(position: Position, monitor: str, value: float | None) -> Position:
    """Returns the position after a validation in which the monitored score had a value.

    As long as the score is undefined (None), the newest network counts as the best.
    """
    better = value is not None and is_better(monitor, value, position.best_value)
    if better or position.best_value is None:
        position = replace(position, best_value=value, best_step=position.step)
    return replace(position, stale=0 if better else position.stale + 1)


def out_of_patience(position: Position, config: TrainingConfig) -> bool:
    """Whether so many validations without a better score end the run."""
    return config.patience is not None and position.stale >= config.patience
