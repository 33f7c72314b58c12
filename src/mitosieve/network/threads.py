"""How many threads compute, for libraries that are loaded already and for those that will be."""

import os
import sys

_VARIABLE = "OMP_NUM_THREADS"
"""What torch takes its number from when it is imported; processes of this one inherit it."""


def use_threads(number: int) -> None:
    """Let networks compute with so many threads from here on; OpenCV keeps to one, for patches are cut side by side."""
    import cv2

    os.environ[_VARIABLE] = str(number)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(number)
    cv2.setNumThreads(1)


def num_threads() -> int:
    """Threads of networks: as set here or by the environment, else as torch chooses or all cores of this process."""
    if "torch" in sys.modules:
        import torch

        return int(torch.get_num_threads())
    told = os.environ.get(_VARIABLE, "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
