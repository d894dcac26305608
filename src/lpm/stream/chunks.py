"""Which time, and so which frames and which samples, belong to which chunk of a stream."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chunks:
    """Chunk n shows ``frames`` video frames; the first picture stands before chunk 0 and is shown with it.

    Attributes:
        frames: video frames of a chunk.
        fps: video frames a second.
        stride_t: video frames of a latent frame.

    >>> second = Chunks(frames=24, fps=24.0, stride_t=4)
    >>> second.shown(0), second.shown(2), second.ends(0)
    (range(0, 25), range(49, 73), 1.0416666666666667)
    """

    frames: int
    fps: float
    stride_t: int

    @property
    def seconds(self) -> float:
        """Length of a chunk."""
        return self.frames / self.fps

    def begins(self, chunk: int) -> float:
        """Return when the last video frame before a chunk begins: time 0 of the chunk's conditions."""
        return chunk * self.frames / self.fps

    def first_ends(self, chunk: int) -> float:
        """Return when the first latent frame of a chunk ends."""
        return (chunk * self.frames + self.stride_t + 1) / self.fps

    def ends(self, chunk: int) -> float:
        """Return when the last video frame of a chunk ends."""
        return ((chunk + 1) * self.frames + 1) / self.fps

    def shown(self, chunk: int) -> range:
        """Return the video frames that come out with a chunk."""
        return range(chunk * self.frames + 1 if chunk else 0, (chunk + 1) * self.frames + 1)
