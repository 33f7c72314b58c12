"""The data sets of the literature that `mitosieve get` knows, by name. To add one: its module, one line here."""

from collections.abc import Mapping

from mitosieve.cohort.published.atypia14 import ATYPIA14
from mitosieve.cohort.published.contract import PublishedSet
from mitosieve.cohort.published.icpr12 import ICPR12
from mitosieve.cohort.published.midog import MIDOG_2021, MIDOG_PLUS_PLUS
from mitosieve.cohort.published.tupac16 import TUPAC16, TUPAC16_ALTERNATIVE
from mitosieve.errors import FormatError, did_you_mean

PUBLISHED: Mapping[str, PublishedSet] = {
    "mitos-atypia-14": ATYPIA14,
    "icpr-2012": ICPR12,
    "tupac16": TUPAC16,
    "tupac16-alternative": TUPAC16_ALTERNATIVE,
    "midog-2021": MIDOG_2021,
    "midog-plus-plus": MIDOG_PLUS_PLUS,
}


def published(name: str) -> PublishedSet:
    """A data set by name.

    Raises:
        FormatError: no such set; names the nearest.
    """
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise FormatError(
            f"no data set '{name}' is known", remedy=f"{did_you_mean(name, list(PUBLISHED))}known: {known}"
        )
    return PUBLISHED[name]
