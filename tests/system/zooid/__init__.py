"""A node in QEMU, seen from outside (see ../README.md)."""

from .build import ARCHES, BUILD, FULL, TOP
from .disk import Disk
from .log import Late, Log
from .node import Node

__all__ = ["ARCHES", "BUILD", "Disk", "FULL", "Late", "Log", "Node", "TOP"]
