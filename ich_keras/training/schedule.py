"""What follows which step of a run, and which validation is better."""

from dataclasses import dataclass

from ich_keras.experiment.schema import TrainingConfig

HIGHER_IS_BETTER = {"mean_auc": True, "loss": False, "weighted_log_loss": False}
FORWARD_PASSES_PER_STEP = 3  # one forward, and a backward pass of about twice its cost


@dataclass(frozen=True)
class Schedule:
    """What follows which step.

    Attributes:
        config: its intervals in steps.
        end: the last step.
        validate_each_interval: whether there are validations before the last.
    """

    config: TrainingConfig
    end: int
    validate_each_interval: bool

    def saves(self, step: int) -> bool:
        """Whether the state is saved, from which a run can be resumed."""
        return step == self.end or step % self.config.validate_every == 0

    def validates(self, step: int) -> bool:
        return self.saves(step) and (self.validate_each_interval or step == self.end)

    def draws(self, step: int) -> bool:
        """Whether the class grid is drawn."""
        return step == self.end or step % self.config.figure_every == 0

    def logs(self, step: int) -> bool:
        """Whether the history gets a row."""
        return self.saves(step) or self.draws(step) or step % self.config.log_every == 0

    def validation_share(self, slices: int) -> float:
        """The share of validation in the multiply-adds, 0..1.

        A training step costs about three forward passes: one forward, two backward.

        Args:
            slices: of one validation.
        """
        interval = self.config.validate_every if self.validate_each_interval else self.end
        learned = min(interval, self.end) * self.config.batch_size
        return slices / (slices + FORWARD_PASSES_PER_STEP * learned)


def is_better(monitor: str, value: float, best: float | None) -> bool:
    """Whether a value of the monitored score is better than the best so far, if there is one."""
    if best is None:
        return True
    return value > best if HIGHER_IS_BETTER[monitor] else value < best
