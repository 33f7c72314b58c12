"""Columns of the tables of a count: summary.csv, of which equal detections give equal bytes, and timing.csv."""

SUMMARY_COLUMNS = (
    "slide_id",
    "mpp_x",
    "mpp_y",
    "width",
    "height",
    "roi_mm2",
    "tissue_mm2",
    "glass_mm2",
    "figures",
    "figures_per_mm2",
    "hotspot_shape",
    "hotspot_area_mm2",
    "hotspot_tissue_mm2",
    "hotspot_x",
    "hotspot_y",
    "hotspot_width",
    "hotspot_height",
    "hotspot_figures",
    "hotspot_figures_per_mm2",
    "hotspot_note",
    "nottingham_mitotic_score",
    "proposer",
    "threshold",
    "learnt_from",
    "test_f1",
    "test_f1_low",
    "test_f1_high",
    "test_f1_on",
    "detector_warning",
    "strangeness",
    "warning",
    "note",
    "error",
)
"""Of summary.csv. Pixels are level-0 px with pixel centres at integers; x and y are the upper left corner of the
hotspot's upright box; `roi_mm2` is the area of the slide that alone was searched, tissue or not, empty where all of the
slide was, and every count is of it; `hotspot_tissue_mm2` of its area is tissue that was looked at, within the ROI, and
`hotspot_figures_per_mm2` is per mm2 of that; `hotspot_note` says why there is none. `test_f1` and its 95 % interval are
of patients that were not learned from; `test_f1_on` says of which, and where the score is not this detector's but that
of a like training without them. `detector_warning` holds for all slides of a job, `warning` for this one: its
resolution can hardly be right, it is coarser than the network, or unlike the training's (`strangeness` is the largest
distance from those in limits: above 1 there is a warning). `note` is what the file says of itself that must be known. A
field is empty where a value is not known or not defined."""

COUNTED_COLUMNS = (
    "figures",
    "figures_per_mm2",
    *(name for name in SUMMARY_COLUMNS if name.startswith("hotspot_")),
    "nottingham_mitotic_score",
)
"""Those of them that hang on which cells are figures; the others are of the slide, the job and the detector."""

TIMING_COLUMNS = ("slide_id", "seconds", "tissue_mm2_per_s", "engine")
"""Of timing.csv: wall time, and what hangs on the machine."""
