"""What the scenarios share: the site (the nodes of a run), the agents that run on it, the objects that they read."""

from ground.objects import BACKEND, DIRECTOR, VIP, virtual_service

from .arp_requests import arping_many, repeated_requests
from .fleet import Cluster, Fleet, Hosts
from .site import Site

__all__ = ["BACKEND", "DIRECTOR", "VIP", "Cluster", "Fleet", "Hosts", "Site", "arping_many", "repeated_requests", "virtual_service"]
