"""The versions of many resources, as they are now."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from pydag_gcp.errors import TargetUnreachable
from pydag_gcp.gcp import Clients
from pydag_gcp.resources import UNKNOWN, Resource, Version, resource_key
from pydag_gcp.retry import asking_again, is_transient
from pydag_gcp.views import Seen, settled


class Versions:
    """Asks the cloud for versions: always anew, each resource once, several at a time. For all threads.

    Args:
        clients: Reach the target.
        threads: Calls that may be on their way at once.
    """

    def __init__(self, clients: Clients, *, threads: int = 16) -> None:
        self._clients = clients
        self._threads = threads
        self._reviving = threading.Lock()

    def of(self, resources: Iterable[Resource]) -> dict[Resource, Version]:
        """Ask for the versions of resources; of a view also for those of what is behind it.

        A service that refuses to say leaves a version UNKNOWN. One that does not answer is asked again for a while,
        for an outage is no news about the data.

        Raises:
            TargetUnreachable: A service does not answer.
            LocalCloudError: The local cloud has died and does not start again.
        """
        wanted = {resource: resource.whole(self._clients.target.project) for resource in resources}
        found = settled(set(wanted.values()), self._ask) if wanted else {}
        return {resource: found[whole] for resource, whole in wanted.items()}

    def _ask(self, resources: Collection[Resource]) -> dict[Resource, Seen]:
        wave = sorted(resources, key=resource_key)
        if len(wave) == 1:
            return {wave[0]: self._ask_for(wave[0])}
        with ThreadPoolExecutor(min(self._threads, len(wave)), thread_name_prefix="pydag-versions") as pool:
            return dict(zip(wave, pool.map(self._ask_for, wave), strict=True))

    def _ask_for(self, resource: Resource) -> Seen:
        from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            return asking_again(self._revive)(resource.look, self._clients)
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            if isinstance(error, GoogleAPICallError) and not is_transient(error):
                return UNKNOWN
            what = f"its service does not answer: {error}".splitlines()[0]
            raise TargetUnreachable(what, where=str(resource)) from error

    def _revive(self) -> None:
        with self._reviving:
            self._clients.revive()
