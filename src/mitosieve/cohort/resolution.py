"""What a user states about the resolution of slides, checked. Knows nothing of image files."""

from pathlib import Path

from mitosieve.cohort.marked import Caution, MarkedImage
from mitosieve.cohort.table import read_table
from mitosieve.errors import ResolutionError, plural, some
from mitosieve.slide.slide import MAX_MPP, MIN_MPP


class StatedMpp:
    """What the user states about resolution: nothing, one number, or a table by slide; remembers what was used."""

    def __init__(self, number: float | None, table: dict[str, float], where: str) -> None:
        self._number = number
        self._table = table
        self._where = where
        self._used: set[str] = set()

    @classmethod
    def of(cls, mpp: str | float | None) -> "StatedMpp":
        """From a number, a number as text, or the path of a CSV slide,mpp.

        Raises:
            ResolutionError: neither, or a resolution out of range.
        """
        if mpp is None:
            return cls(None, {}, "")
        try:
            number = float(mpp)
        except ValueError:
            return cls(None, _mpp_table(str(mpp)), str(mpp))
        return cls(usable(number, "--mpp"), {}, "")

    def refuse_one_for_all(self, where: Path) -> None:
        """Refuse a single number, for images that are known to differ in resolution.

        Raises:
            ResolutionError: one number is stated.
        """
        if self._number is not None:
            raise ResolutionError(
                f"--mpp {self._number:g} is one number, but its images are of scanners of different resolution",
                where=where,
                remedy="leave out --mpp (each scanner's own is known), or give a CSV with slide,mpp",
            )

    def find(self, image: MarkedImage) -> float | None:
        """The stated resolution of an image: by its slide_id, its path as the labels name it, or its file's name."""
        if self._number is not None:
            return self._number
        own = () if image.path is None else (image.path.name,)
        for key in (image.slide_id, image.file_name, Path(image.file_name).name, *own):
            if key in self._table:
                self._used.add(key)
                return self._table[key]
        return None

    def unused(self) -> list[Caution]:
        left = [key for key in self._table if key not in self._used]
        rows = plural(len(left), "row")
        return [Caution(text=f"{rows} of {self._where} without an imported slide: {some(left)}")] if left else []


def usable(mpp: float, where: str) -> float:
    """A resolution in um per px, checked to be one.

    Raises:
        ResolutionError: zero, negative, not finite, or absurd.
    """
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise ResolutionError(
            f"{mpp:g} um per px is not between {MIN_MPP} and {MAX_MPP}", where=where, remedy="write um per px, as 0.25"
        )
    return mpp


def _mpp_table(text: str) -> dict[str, float]:
    path = Path(text)
    if not text.strip() or not path.exists():  # a blank would name the folder that one is in
        raise ResolutionError(
            f"--mpp '{text}' is neither a number nor a file", remedy="write --mpp 0.25, or --mpp FILE.csv (slide,mpp)"
        )
    table: dict[str, float] = {}
    for row in read_table(path, required=("slide", "mpp"), error=ResolutionError):
        slide = row.values["slide"]
        if slide in table:
            raise ResolutionError(f"names the slide '{slide}' twice", where=row.where, remedy="keep one of the rows")
        try:
            table[slide] = usable(float(row.values["mpp"]), row.where)
        except ValueError as error:
            raise ResolutionError(
                f"mpp is '{row.values['mpp']}', not a number", where=row.where, remedy="write um per px, as 0.25"
            ) from error
    return table
