"""Work through the stages: each chunk at once, or staggered, one chunk at every stage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lpm.stream.session import Session
from lpm.stream.stages import Stage
from lpm.stream.work import Work


@dataclass(frozen=True)
class Pipeline:
    """The stages that all sessions share; the work that lies between them belongs to a session.

    A chunk goes through all stages at once: that answers soonest. With ``staggered``, a push lets the generator do
    chunk n, the refiner n - 1 and the decoder n - 2, and a chunk comes out one push later for each stage behind the
    first. What comes out is the same. No stage needs what another one does in the same push, so they could run side by
    side on devices of their own; here they run one after the other, in one thread.

    Attributes:
        stages: in the order of the work.
        staggered: see above.
    """

    stages: Sequence[Stage]
    staggered: bool = False

    def push(self, work: Work, session: Session) -> Work | None:
        """Begin a chunk; return the chunk that comes out, None where it is still on its way."""
        if self.staggered:
            return self._tick(work, session)
        for stage in self.stages:
            work = stage(work, session)
        return work

    def flush(self, session: Session) -> Iterator[Work]:
        """Yield the chunks that are on their way."""
        while session.in_flight:
            done = self._tick(None, session)
            if done is not None:
                yield done

    def _tick(self, work: Work | None, session: Session) -> Work | None:
        """Let every stage do the work in front of it; none needs what another one does in the same tick."""
        waiting = [work, *(session.between or [None] * (len(self.stages) - 1))]
        done = [None if item is None else stage(item, session) for stage, item in zip(self.stages, waiting)]
        *session.between, last = done
        return last
