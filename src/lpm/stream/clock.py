"""Time: whose clock a stream follows, and when its frames are shown."""

import time
from typing import Protocol

SECOND = 1_000_000_000


class Clock(Protocol):
    """A monotonic clock, in nanoseconds."""

    def now(self) -> int:
        """Return the time."""
        ...

    def wait_until(self, moment: int) -> None:
        """Return at or after the moment."""
        ...


class WallClock:
    """The computer's clock."""

    def now(self) -> int:
        """Return the time."""
        return time.monotonic_ns()

    def wait_until(self, moment: int) -> None:
        """Sleep until the moment."""
        while (left := moment - self.now()) > 0:
            time.sleep(left / SECOND)


class Playout:
    """Shows frame after frame, one each 1 / fps seconds from the first one on.

    A frame that comes more than one frame late moves all later ones: the picture stood still meanwhile, and goes on at
    its pace. Smaller delays are caught up.
    """

    def __init__(self, fps: float, clock: Clock) -> None:
        self.period, self.clock, self.due = SECOND / fps, clock, 0.0

    def wait(self) -> None:
        """Wait until the frame at hand is due."""
        now = self.clock.now()
        if now > self.due + self.period:
            self.due = float(now)
        self.clock.wait_until(int(self.due))
        self.due += self.period
