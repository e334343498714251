"""Which shapes of item are met again and again: for these, readers are written as code (`shape_code`).

Kept are the names and tags of items, never their values, and a bounded number of them.
"""

from __future__ import annotations

from threading import Lock

from .fast_values import read_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from .shape_code import Shape

    Names: TypeAlias = tuple[str, ...]
    Reader: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

__all__ = ["HotShapes"]

SAMPLED = 13
"""Of so many items without a reader one is counted: where shapes don't repeat, that must cost next to nothing. Odd,
because keys and images are read in turn."""
SAMPLES, WINDOW = 5, 256
"""A reader is written for a shape that so many samples of a window had: after some 64 sightings, if it is that of at
least a fiftieth of all items. Of rarer ones more would be lost in telling them apart than is won."""
MOST_NAMES, LONGEST_NAMES = 64, 2048
"""The attributes of an item that may get a reader, and the characters of their names."""
MOST_READERS = 64
MOST_WRITINGS = 8
"""For one shape, each more general than the one before; then its items vary too much for a reader."""


class HotShapes:
    """The readers of one process.

    Attributes:
        readers: By an item's number of attributes, up to `MOST_NAMES`: a function that reads it, or raises; None where
            there is none. One that raised is to be told of, by `gave_up`, where the item was well formed.
        unsampled: How many more items without a reader to read before the next is given to `sample`; the caller counts.
            Two threads may count one item between them, which does no harm.
    """

    __slots__ = ("_by_names", "_counted", "_samples", "_shared", "_writing", "_written", "readers", "unsampled")

    def __init__(self) -> None:
        self.readers: list[Reader | None] = [None] * (MOST_NAMES + 1)
        self.unsampled = SAMPLED
        self._by_names: dict[Names, Reader] = {}
        self._written: dict[Names, tuple[int, Shape]] = {}
        """How often a reader was written, and for what."""
        self._shared: set[int] = set()
        """Numbers of attributes that several shapes have."""
        self._counted: dict[Names, int] = {}
        self._samples = 0
        self._writing = Lock()

    def gave_up(self, item: dict[str, Any]) -> None:
        """Make the reader that gave up on a well-formed item read its like from now on."""
        count = len(item)
        if count > MOST_NAMES:
            return
        with self._writing:
            names = tuple(item)
            alike = (each for each in self._written if len(each) == count and item.keys() == set(each))
            known = names if names in self._written else next(alike, None)  # its own order, or another one's
            if known is None:  # the reader was another shape's
                self._tell_apart(count)
            else:
                self._write(known, item)

    def _read_by_names(self, item: dict[str, Any]) -> dict[str, Any]:
        """For a number of attributes that several shapes have."""
        reader = self._by_names.get(tuple(item))
        if reader is not None:
            return reader(item)
        read = read_map(item, 0)
        self.unsampled -= 1
        if self.unsampled <= 0:
            self.sample(item)
        return read

    def sample(self, item: dict[str, Any]) -> None:
        """Count a well-formed item's shape, and perhaps write a reader for it."""
        self.unsampled = SAMPLED
        self._samples += 1
        if self._samples == WINDOW:
            self._samples = 0
            self._counted.clear()
        names = tuple(item)
        if len(names) > MOST_NAMES or sum(map(len, names)) > LONGEST_NAMES:
            return
        self._counted[names] = count = self._counted.get(names, 0) + 1
        if count == SAMPLES and names not in self._written and len(self._written) < MOST_READERS:
            with self._writing:
                self._write(names, item)

    def _write(self, names: Names, item: dict[str, Any]) -> None:
        from .shape_code import NOTHING, bounded, merged, reader_of, shape_of

        count = len(names)
        times, known = self._written.get(names, (0, NOTHING))
        shape = bounded(merged(known, shape_of({"M": item})))
        if shape == known:
            return
        self._written[names] = times + 1, shape
        if shape is None or times >= MOST_WRITINGS:  # its items vary too much
            self._by_names.pop(names, None)
            self._tell_apart(count)
            return
        reader = self._by_names[names] = reader_of(shape)
        if any(len(other) == count and other != names for other in self._by_names):
            self._tell_apart(count)
        elif count not in self._shared:
            self.readers[count] = reader

    def _tell_apart(self, count: int) -> None:
        """Let items of so many attributes find their readers by all of their names."""
        self._shared.add(count)
        self.readers[count] = self._read_by_names
