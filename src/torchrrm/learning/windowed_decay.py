"""Learning rates that fall while training stalls: Algorithm 2 of [Zhang2022HBGNN]."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["DecayedRate", "WindowedDecay"]


@dataclass(frozen=True)
class WindowedDecay:
    """A factor on the learning rate that falls at each step whose windowed mean is no new best.

        m_t = mean of the last `window` rewards, once there are so many,
        m_t > best mean so far:  that is the best mean now,      else:  rate <- factor * rate.

    The test of Algorithm 2 of [Zhang2022HBGNN] is ambiguous in print. It compares the mean `R_l` of the window with
    `R_B`, the rate of the batch at hand, trains if `R_l` is higher and lets the learning rate fall if not. Read so,
    every batch better than the average, about every second, would not be trained on. Its first lines set an "average
    best rate `r_b = 0`" that nothing else reads. Here `R_B` is read as that `r_b`, which follows the best windowed
    mean; every step trains, also one at which the rate falls, since otherwise the weights would not change again; and
    means of fewer rewards than a window, which scatter, decide nothing.

    Attributes:
        window: how many rewards a mean has.
        factor: of the learning rate, each time.
        measure: what is rewarded, the higher the better: a name among the measures of the training's objective (see
            `Measuring`), or None for the loss, the lower the better.
    """

    window: int = 100
    factor: float = 0.99
    measure: str | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window: must be at least 1, received {self.window}")
        if not 0.0 < self.factor <= 1.0:
            raise ValueError(f"factor: must be above 0 and at most 1, received {self.factor}")


@dataclass
class DecayedRate:
    """The factor of a `WindowedDecay` as rewards come in.

    >>> decayed = DecayedRate(WindowedDecay(window=2, factor=0.5))
    >>> [decayed.after(reward) for reward in (1.0, 3.0, 3.0, 1.0, 1.0)]
    [1.0, 1.0, 1.0, 0.5, 0.25]

    Attributes:
        decay: the rule.
        factor: of the learning rate of the next step.
    """

    decay: WindowedDecay
    factor: float = 1.0
    _recent: deque[float] = field(default_factory=deque)
    _best: float | None = None

    def after(self, reward: float) -> float:
        """The factor after one more reward. Means are summed anew, so that a resumed run has the same."""
        self._recent.append(reward)
        if len(self._recent) > self.decay.window:
            self._recent.popleft()
        if len(self._recent) < self.decay.window:
            return self.factor
        mean = sum(self._recent) / self.decay.window
        if self._best is None or mean > self._best:
            self._best = mean
        else:
            self.factor *= self.decay.factor
        return self.factor

    def replay(self, rewards: Iterable[float]) -> None:
        """Take in the rewards of a run that is resumed."""
        for reward in rewards:
            self.after(reward)
