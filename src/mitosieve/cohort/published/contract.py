"""What is known of a data set of the literature, and what was found of it in a user's folder. Knows none by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mitosieve.cohort.marked import Caution, MarkedImage
from mitosieve.slide.hidden import files_below as files_below  # what a set is looked for with
from mitosieve.slide.hidden import visible as visible

NO_HASH = "no hash published"
"""What is said of a set whose label files could be compared with no verified one."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a whole copy holds; None where it is not known.

    Attributes:
        slides: labelled or not.
        figures, imposters: marks.
    """

    slides: int | None = None
    figures: int | None = None
    imposters: int | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where the parts of a data set lie in a user's folder.

    Attributes:
        form: the importer's format.
        labels: what the importer reads.
        images: the folder of images.
        mpp: um per px of an image by the set's description; None where it is not described.
        mpp_over_file: whether that is used even where the image file states another.
        splits: names of the split tables that go with what was found.
        absent: parts that a whole copy has and this has not, by name.
        wanted: whether an image is of the set's training part; others are left out.
        searched: cases in which every figure is marked though no label file names them.
        optional_unlabelled: whether images without labels may be absent.
        expected: counts by domain, or "total".
        counted: where these counts come from.
        cautions: what a user should know before all else.
    """

    form: str
    labels: Path
    images: Path
    mpp: Callable[[MarkedImage], float | None]
    mpp_over_file: bool
    splits: tuple[str, ...]
    absent: tuple[str, ...] = ()
    wanted: Callable[[MarkedImage], bool] = lambda image: True
    searched: frozenset[str] = frozenset()
    optional_unlabelled: bool = False
    expected: Mapping[str, Counts] = field(default_factory=dict[str, Counts])
    counted: str = ""
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """A data set of the literature as a user meets it.

    Attributes:
        what: title, images and marks in a line.
        address: its official page.
        fetch: what to download there, and how it lies in one folder.
        terms: as far as they could be read; never an advice.
        digests: SHA-256 of the label file, of every version that was verified.
        digest_source: where that version stands; empty where no hash is known.
        splits: names of its split tables.
        look: finds its parts in a folder, or raises FormatError.
    """

    what: str
    address: str
    fetch: str
    terms: str
    splits: tuple[str, ...]
    look: Callable[[Path], Found]
    digests: frozenset[str] = frozenset()
    digest_source: str = ""

    @property
    def verified_with(self) -> str:
        """Where the version stands whose hashes are known; that none was published, where none is."""
        return self.digest_source or NO_HASH
