"""What the scenarios share: the town they play in, the agents at work in it, the objects they are given."""

from .fleet import Cluster, Fleet, Hosts
from .objects import BACKEND, DIRECTOR, VIP, virtual_service
from .questions import arping_many, asking_all_the_time
from .town import Town

__all__ = ["BACKEND", "DIRECTOR", "VIP", "Cluster", "Fleet", "Hosts", "Town", "arping_many", "asking_all_the_time", "virtual_service"]
