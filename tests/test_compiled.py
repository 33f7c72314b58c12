"""Laws of functions that are compiled at their first call: the answers of plain Python, and no numba before."""

import subprocess
import sys

import numpy as np

from mitosieve.compiled import compiled
from mitosieve.count import disc, hotspot
from mitosieve.detection import _suppress, suppress
from mitosieve.slide import stain


@compiled()
def squared(value):
    """Called by the other one."""
    return value * value


@compiled(nogil=True)
def sum_of_squares(values):
    """Calls a compiled function."""
    total = 0.0
    for value in values:
        total += squared(value)
    return total


def test_what_calls_another_compiled_function_is_compiled_too():
    """The name holds numba's function afterwards; plain Python gives the same."""
    values = np.arange(5.0)
    assert sum_of_squares.plain(values) == 30.0
    assert sum_of_squares(values) == 30.0
    assert sum_of_squares(values=values) == 30.0
    assert squared(3.0) == 9.0
    assert sum_of_squares.__doc__ == "Calls a compiled function."


def test_numba_is_loaded_by_the_first_call():
    """Not by the modules whose functions are compiled."""
    names = ", ".join(module.__name__ for module in (disc, hotspot, stain, sys.modules["mitosieve.detection"]))
    code = (
        f"import sys, {names}, numpy as np; from mitosieve.detection import suppress; "
        "suppress(np.zeros((300, 2)), np.zeros(300), radius_um=1.0); before = 'numba' in sys.modules; "
        "suppress(np.zeros((301, 2)), np.zeros(301), radius_um=1.0); print(before, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_few_points_are_suppressed_as_many_are(monkeypatch):
    """By Python and compiled: the same rows, with ties of score and of distance."""
    generator = np.random.default_rng(3)
    for count in (1, 2, 40, 300):
        places = generator.integers(0, 12, (count, 2)) * 2.5
        score = generator.integers(0, 6, count) / 5
        by_python = suppress(places, score, radius_um=7.5)
        monkeypatch.setattr("mitosieve.detection._FEW", 0)
        assert np.array_equal(suppress(places, score, radius_um=7.5), by_python)
        monkeypatch.undo()
    assert _suppress.plain.__name__ == "_suppress"
