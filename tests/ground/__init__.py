"""Test ground of directway: nodes with kernels of their own, on Ethernet segments, next to a real API server."""

from .lab import Lab
from .wait import wait_until

__all__ = ["Lab", "wait_until"]
