"""Whose picture is drawn next: of pages that move a coarse one at once, of those that rest a fine one."""

import threading
import time
from collections.abc import Hashable

REST = 0.25  # seconds without a change after which a page rests


class Turns:
    """What is still to be drawn, for any number of pages; called from any thread. Times are those of one clock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._coarse: dict[Hashable, None] = {}  # in the order that they asked in
        self._fine: dict[Hashable, float] = {}  # since when each has not changed

    def touch(self, *pages: Hashable, now: float | None = None) -> None:
        """These pages have changed: their camera, or what is shown."""
        with self._changed:
            for page in pages:
                self._coarse.setdefault(page)
                self._fine[page] = time.monotonic() if now is None else now
            self._changed.notify()

    def leave(self, page: Hashable) -> None:
        """Nothing is to be drawn for a page any more."""
        with self._changed:
            self._coarse.pop(page, None)
            self._fine.pop(page, None)

    def next(self, now: float) -> tuple[Hashable, bool] | None:
        """The page to draw now and whether finely, which is then no longer to be drawn; None: there is none yet."""
        with self._changed:
            if self._coarse:
                page = next(iter(self._coarse))
                del self._coarse[page]
                return page, False
            rested = [page for page, since in self._fine.items() if now - since >= REST]
            if not rested:
                return None
            del self._fine[rested[0]]
            return rested[0], True

    def take(self) -> tuple[Hashable, bool]:
        """As `next`, but waits until there is one."""
        while True:
            with self._changed:
                now = time.monotonic()
                found = self.next(now)
                if found is not None:
                    return found
                since = min(self._fine.values(), default=None)
                self._changed.wait(None if since is None else max(since + REST - now, 0.001))
