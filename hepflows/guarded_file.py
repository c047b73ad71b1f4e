"""A file for HDF5 to write into that survives a full disk.

The HDF5 library keeps buffers that it must write when a file is closed. If the disk is full then, closing
fails, and the process dies of a segmentation fault (seen with h5py 3). This file never tells HDF5: it keeps
the first error and what could not be written, so that HDF5 closes in good order and the caller can raise.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


INTERRUPTS_WAIT = True  # see `hepflows.interruption`


class GuardedFile:
    """Binary file for h5py's file-object driver; call `check` after writing.

    Attributes:
        error: the first error that the operating system reported, or None.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("w+b", buffering=0)
        self._position = 0
        self._lost: dict[int, bytes] = {}
        self.error: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def check(self) -> None:
        """Raise the error that was kept back, if any."""
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, see `io.IOBase.seek`."""
        self._position = self._raw.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`, or keep it in memory once the disk has refused."""
        view, start = memoryview(data).cast("B"), self._position
        self._position += len(view)
        if self.error is None:
            try:
                done = 0
                while done < len(view):
                    done += self._raw.write(view[done:])
            except OSError as error:
                self.error = error
            else:
                return len(view)
        self._lost[start] = bytes(view)
        return len(view)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from what was written at the position; HDF5 reads back in the units it wrote."""
        view, start = memoryview(buffer).cast("B"), self._position
        lost = self._lost.get(start, b"")[: len(view)]
        if lost:
            view[: len(lost)] = lost
            done = len(lost)
        else:
            done = 0
            while done < len(view) and (read := self._raw.readinto(view[done:])):
                done += read
        self._position += done
        return done

    def read(self, size: int) -> bytes:
        """Like `readinto`; h5py tells file objects by this method."""
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        if self.error is None:
            try:
                self._raw.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""
