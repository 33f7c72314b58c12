"""What the training slides of each source look like, measured on the places that are learned from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort
from mitosieve.patch.augment.exchange import AMOUNTS, Appearances, ExchangeConfig, Exchanged, draw_exchange, statistics
from mitosieve.patch.augment.variant import Variant
from mitosieve.slide.compression import jpeg_quality
from mitosieve.train.pool import PatchPool

SEEN = 32
"""Patches that an appearance is measured on, evenly spaced among its own."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The appearances of the rows of a pool that are learned from, and which of them each row has.

    Attributes:
        among: one appearance a source and case.
        of_row: (N,) row of `among`; -1 of rows that are not learned from.
    """

    among: Appearances
    of_row: NDArray[np.intp]

    @classmethod
    def of_rows(cls, pool: PatchPool, learned: NDArray[np.intp], cohort: Cohort) -> "Looks":
        """Measure them: a case's slides of one source together, for a crop alone shows too little.

        Of files the quality of an appearance's first slide counts.

        Args:
            pool: of the training.
            learned: rows that are learned from. What the other rows look like is not looked at: a network that is to
                judge a patient must not have been shown the patient's colours.
            cohort: of the pool's slides.

        Raises:
            SlideError: an image file is not there.
        """
        source_of, case_of = cohort.source_of, cohort.case_of
        slides, row_of = np.unique(pool.index.slide_id[learned], return_inverse=True)
        named = {str(name): (source_of[str(name)], case_of[str(name)]) for name in slides}
        keys = sorted(set(named.values()))
        number = {key: i for i, key in enumerate(keys)}
        of_row = np.full(len(pool.index), -1, dtype=np.intp)
        of_row[learned] = np.array([number[named[str(name)]] for name in slides], dtype=np.intp)[row_of]
        mean, covariance = np.zeros((len(keys), 3)), np.zeros((len(keys), 3, 3))
        detail, jpeg = np.ones((len(keys), len(AMOUNTS))), np.zeros(len(keys), dtype=np.int64)
        for i in range(len(keys)):
            rows = np.flatnonzero(of_row == i)
            rows = rows[np.linspace(0, len(rows) - 1, min(SEEN, len(rows))).round().astype(np.intp)]
            mean[i], covariance[i], detail[i] = statistics(pool.reader.read(rows, Variant.plain(len(rows))))
            jpeg[i] = jpeg_quality(cohort.path_of(str(pool.index.slide_id[rows[0]]))) or 0
        source = np.array([key[0] for key in keys], dtype=np.str_)
        among = Appearances(source=source, mean=mean, covariance=covariance, detail=detail, jpeg=jpeg)
        return cls(among=among, of_row=of_row)

    def draw(self, rows: NDArray[np.intp], config: ExchangeConfig, generator: np.random.Generator) -> Exchanged:
        """An exchange for each of the rows."""
        return draw_exchange(self.of_row[rows], self.among, config, generator)


def looks_for(
    pool: PatchPool, kinds: Iterable[NDArray[np.intp]], cohort: Cohort, *exchanges: ExchangeConfig | None
) -> Looks | None:
    """The looks of the rows that are learned from, where any of the views exchanges them."""
    return Looks.of_rows(pool, np.unique(np.concatenate(list(kinds))), cohort) if any(exchanges) else None
