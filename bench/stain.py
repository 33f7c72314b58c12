"""Speed of stain normalisation: `python bench/stain.py`. Aim: at least 30 Mpx/s on one core, 60 wished for."""

import time

import numpy as np

from mitosieve.slide.stain import apply_transform, average_profiles, estimate_profile, od_transform
from mitosieve.slide.stain import reference_profile as reference


def best_of(function, repeats: int = 7) -> float:  # noqa: ANN001 - any callable without arguments
    """Shortest wall time in seconds, after one call that compiles."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    generator = np.random.default_rng(0)
    amounts = generator.gamma(1.5, 0.4, size=(2048, 2048, 2))
    rgb = np.clip(256 * np.exp(-(amounts @ reference().matrix.T)) - 1, 0, 255).astype(np.uint8)
    profile = estimate_profile(rgb)
    assert profile is not None
    transform = od_transform(profile, average_profiles([profile, reference()]))
    megapixels = rgb.shape[0] * rgb.shape[1] / 1e6
    print(f"apply_transform   {megapixels / best_of(lambda: apply_transform(rgb, transform)):7.1f} Mpx/s")
    print(f"estimate_profile  {1e3 * best_of(lambda: estimate_profile(rgb)):7.1f} ms per slide")


if __name__ == "__main__":
    main()
