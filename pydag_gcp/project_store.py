"""The metadata database for whoever only reads it: a project in which nothing has run is left as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydag_gcp.settings import Settings
from pydag_gcp.store import Store


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """Open the metadata database; where there is none, an empty one that is thrown away.

    Raises:
        StoreError: It cannot be read.
    """
    file = Path(settings.store_url.removeprefix("sqlite:///"))
    if settings.store or file.exists():
        with Store(settings.store_url) as store:
            yield store
        return
    with tempfile.TemporaryDirectory(prefix="pydag-") as folder, Store(f"sqlite:///{folder}/pydag.db") as store:
        yield store
