"""Count the mitotic figures of a slide, look at them, keep them for QuPath.

    python examples/count_a_slide.py SLIDE [UM_PER_PX]

Open it in an editor that knows `# %%` cells (VS Code, Spyder, PyCharm), or run it as it is.
Research use, not for diagnosis.
"""

# %% What to look at, and with which detector: a name of `mitosieve models`, a run, or a detector folder
import sys

from mitosieve import Detector, open_slide

slide_path = sys.argv[1] if len(sys.argv) > 1 else "slide.svs"
mpp = float(sys.argv[2]) if len(sys.argv) > 2 else None  # um per px, where the file states none

detector = Detector.load("default")
detector

# %% Detections: rows at the detector's threshold are figures, the others are candidates and are not counted
found = detector.detect(slide_path, mpp=mpp)
print(found)

# %% The densest 2 mm2: what is graded where there is as much tissue
from mitosieve.count.hotspot import find_hotspot, mm_from_l0, slide_mm

with open_slide(slide_path, mpp=mpp) as slide:
    places_mm = mm_from_l0(found.figures.center_l0, slide.mpp_xy)
    hotspot = find_hotspot(places_mm, size_mm=slide_mm(slide.size_l0, slide.mpp_xy))
print(f"hotspot: {hotspot.count} figures in {hotspot.area_mm2:.2f} mm2, at {hotspot.center_mm} mm")

# %% The strongest cells, as a figure in a notebook and as a file
figure = found.show(slide_path, mpp=mpp)
figure.savefig("cells.png", dpi=150)

# %% A table for a spreadsheet, and points that open in QuPath by drag and drop
found.to_frame().to_csv("detections.csv", index=False)
found.to_geojson("detections.geojson")
