"""Fixtures: `cluster` and `hosts` are the two fleets, `fleet` runs a scenario with each of them."""

import pytest

from .fleet import Cluster, Fleet, Hosts
from .site import Site


class Fleets:
    """Both fleets of a run, made when first needed; only one at a time has running agents."""

    def __init__(self, site: Site):
        self.site = site
        self.made: dict[type[Fleet], Fleet] = {}
        self.at_work: Fleet | None = None

    def get(self, kind: type[Fleet]) -> Fleet:
        if kind not in self.made:
            self.made[kind] = kind(self.site)
        fleet = self.made[kind]
        if self.at_work not in (None, fleet):
            self.at_work.retire()
        self.at_work = fleet
        self.site.forget_neighbours()
        return fleet


@pytest.fixture(scope="session")
def fleets():
    site = Site()
    try:
        yield Fleets(site)
    finally:
        site.close()


@pytest.fixture
def cluster(fleets):
    """Agents that read from the API server. Afterwards every node must be as it was before."""
    fleet = fleets.get(Cluster)
    yield fleet
    fleet.reset()


@pytest.fixture
def hosts(fleets):
    """Agents that read from a directory. Afterwards every node must be as it was before."""
    fleet = fleets.get(Hosts)
    yield fleet
    fleet.reset()


@pytest.fixture(params=["cluster", "hosts"])
def fleet(request):
    """A scenario that must pass with either source."""
    return request.getfixturevalue(request.param)
