"""What all images of a folder of shards have in common."""

from dataclasses import dataclass

from tfrecords_tools.windows import Window


@dataclass(frozen=True)
class ShardFormat:
    """Size, channels and encoding of the images in shards."""

    windows: tuple[Window, ...]  # in the order of the channels
    # slices below and above each slice. Each window has 2 * neighbours + 1 channels, from the
    # lowest to the highest slice.
    neighbours: int
    size: int  # edge of a slice in pixels
    encoding: str  # one of ENCODINGS

    @property
    def channels(self) -> int:
        return len(self.windows) * (2 * self.neighbours + 1)

    def command_options(self) -> str:
        """The options of `ich-keras convert` that give this format."""
        windows = ",".join(f"{x.name}={x.center:g}/{x.width:g}" for x in self.windows)
        return (
            f"--size {self.size} --windows {windows} --neighbours {self.neighbours}"
            f" --encoding {self.encoding}"
        )
