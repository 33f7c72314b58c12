"""The command line: every command, its exit code, and the path of its result on the last line."""

import json
import shlex
import shutil
import subprocess
import sys
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from layouts import text, tiff
from mitosieve import Cohort, Detector, Split, __version__
from mitosieve.cli import models, terminal
from mitosieve.cli.training import _PRINT
from mitosieve.cohort.published.registry import PUBLISHED
from mitosieve.method.registry import METHODS
from mitosieve.recipe.header import recipe_headers
from mitosieve.recipe.recipe import load_recipe
from mitosieve.recipe.text import recipe_names, recipe_text
from tiny import ONE_CORE, SHORTER, a_cohort, a_run, a_scan, a_split, files_of, images, mitosieve, settings, training

COMMANDS = (
    "import",
    "phantom",
    "split",
    "train",
    "detect",
    "models",
    "evaluate",
    "patch-table",
    "crossval",
    "compare",
    "report",
    "audit",
    "reviews",
    "adapt",
    "get",
    "recipes",
    "recipe",
    "info",
    "doctor",
    "view",
)


HEAVY = {"torch", "pandas", "scipy", "numba", "matplotlib", "sklearn", "onnxruntime", "lightning_fabric", "pyarrow"}


@pytest.mark.parametrize(
    ("words", "also"),
    [
        (("--help",), {"numpy", "cv2"}),
        (("--version",), {"numpy", "cv2"}),
        (("detect", "--help"), {"numpy", "cv2"}),
        (("recipes",), {"numpy", "cv2"}),
        (("recipes", "swift"), {"numpy", "cv2"}),
        (("detect", "gone.svs", "--out", "new"), {"numpy", "cv2"}),
        (("train", "swfit", "cohort"), {"numpy", "cv2"}),
        (("train", "swift", "cohort", "--set", "a.b=1"), {"numpy", "cv2"}),
        (("report", "nowhere"), {"numpy", "cv2"}),
        (("info", "IMAGE"), set()),
        (("import", "midgo", "labels.json", "new"), {"torch", "scipy"}),
    ],
)
def test_what_is_told_at_once_loads_nothing_heavy(words, also):
    """Help, lists, facts of a slide and refusals of arguments come before torch and its like are looked for.

    Modules are counted, in a process of its own, because their time hangs on the machine.
    """
    code = (
        "import sys\nfrom mitosieve.cli import main\ntry: main()\n"
        f"except SystemExit: pass\nfinally: print('loaded:', *({HEAVY | also!r} & set(sys.modules)))"
    )
    given = [str(images()[0]) if word == "IMAGE" else word for word in words]
    told = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "loaded:"


def test_help_names_every_command_and_cuts_none():
    """Each command with its whole first sentence, and an example in its own help; --version tells the version."""
    told = mitosieve("--help")
    assert all(command in told.out for command in COMMANDS)
    assert "..." not in told.out.replace("[ARGS]...", "").replace("mine.toml ...", "")
    assert "Example: mitosieve detect slide.svs --out found" in mitosieve("detect", "--help").out
    assert mitosieve("--version").out == f"mitosieve {__version__}\n"
    assert "--install-completion" in told.out


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help(command):
    """--help exits with 0 and shows the usage."""
    told = mitosieve(*command, "--help")
    assert told.code == 0
    assert "Usage: mitosieve" in told.out


def test_unknown_commands_and_options_are_bad_input():
    """Exit code 2 with the usage, on the error stream."""
    for words in (("detekt",), ("train", "--no-such"), ("evaluate",), ("split", "x", "--folds", "many", "--out", "y")):
        told = mitosieve(*words)
        assert told.code == 2
        assert told.out == ""
        assert "Usage" in told.err


def test_phantom_and_split_print_their_counts(tmp_path):
    """The phantom counts slides and marks, the split the cases and figures of each part; both load."""
    phantom = mitosieve("phantom", tmp_path / "p", "--cases", 3, "--slides-per-case", 1, "--size", 256, "--seed", 1)
    counts = dict(zip(*(line.split("\t") for line in phantom.out.splitlines()[:2]), strict=True))
    assert counts == {name: str(count) for name, count in Cohort.load(tmp_path / "p").counts().items()}
    split = mitosieve("split", a_cohort(), "--folds", 3, "--out", tmp_path / "split.json")
    assert split.result == tmp_path / "split.json"
    assert list(Split.load(split.result).folds) == ["A", "B", "C"]
    assert [line.split("\t")[0] for line in split.out.splitlines()[:-1]] == ["fold", "A", "B", "C"]


def test_split_from_a_table(tmp_path):
    """--table takes fold,case,part as it stands."""
    given = Split.load(a_split())
    rows = [
        f"{n},{case},{part}"
        for n, f in given.folds.items()
        for part in ("train", "validation", "test")
        for case in f.part(part)
    ]
    (tmp_path / "folds.csv").write_text("\n".join(["fold,case,part", *rows]))
    told = mitosieve("split", a_cohort(), "--table", tmp_path / "folds.csv", "--out", tmp_path / "split.json")
    assert told.code == 0, told.err
    assert Split.load(told.result) == given


def test_import_counts_and_adds(tmp_path):
    """An import prints its counts; a second one into the same folder adds to it; a clash changes nothing."""
    (tmp_path / "one.csv").write_text("image,x,y,label\na_1.png,10,20,mitotic figure\na_1.png,30,40,imposter\n")
    (tmp_path / "two.csv").write_text("image,x,y,label\nb_1.png,10,20,mitotic figure\n")
    first = mitosieve("import", "points", tmp_path / "one.csv", tmp_path / "c", "--mpp", 0.25)
    assert (first.code, first.result) == (0, tmp_path / "c"), first.err
    assert first.out.splitlines()[0].split("\t") == [
        "domain",
        "cases",
        "slides",
        "labelled",
        "figures",
        "imposters",
        "warnings",
    ]
    assert mitosieve("import", "points", tmp_path / "two.csv", tmp_path / "c", "--mpp", 0.25).code == 0
    counts = Cohort.load(tmp_path / "c").counts()
    assert (counts["slides"], counts["figures"], counts["imposters"]) == (2, 2, 1)
    before = files_of(tmp_path / "c")
    assert mitosieve("import", "points", tmp_path / "two.csv", tmp_path / "c", "--mpp", 0.25).code == 2
    assert files_of(tmp_path / "c") == before


def test_train_prints_what_screening_kept(tmp_path):
    """The last lines are the paper's table 2 and the run folder; nothing but the detector is on the error stream."""
    told = mitosieve(*training(tmp_path / "run", *SHORTER))
    assert told.code == 0, told.err
    head, row, path = (line.split("\t") for line in told.out.splitlines())
    assert head[1:4] == ["FP", "TP", "FN"]
    kept = json.loads((tmp_path / "run" / "mining.json").read_text())["rounds"][0]
    assert row[:4] == ["screening", str(kept["FP"]), str(kept["TP"]), str(kept["FN"])]
    assert path == [str(tmp_path / "run")]
    expected = {
        "recipe.toml",
        "split.json",
        "mining-scores.parquet",
        "mining.json",
        "timing.json",
        "detector/detector.toml",
    }
    assert expected <= {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*")}
    assert not (tmp_path / "run" / "frames").exists()
    *described, following = told.err.splitlines()
    assert described == Detector.load(tmp_path / "run").describe().splitlines()
    assert following.startswith("next: mitosieve detect --cohort ")
    assert (
        "screening step" in (tmp_path / "run" / "log.txt").read_text()
        or "stage 2 of 5" in (tmp_path / "run" / "log.txt").read_text()
    )
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    for network in ("screening", "refined"):
        kept = json.loads((tmp_path / "run" / "history" / f"{network}.json").read_text())
        assert history[history.network == network].step.tolist() == [row["step"] for row in kept]


def test_detect_on_images(tmp_path):
    """A slide a row, one file a slide and format, and detections.csv with the scores of every stage."""
    some = images()[:2]
    told = mitosieve(
        "detect",
        "--detector",
        a_run() / "detector",
        *some,
        "--mpp",
        0.25,
        "--out",
        tmp_path / "d",
        "--format",
        "geojson,midog",
        *ONE_CORE,
    )
    assert told.code == 0
    *said, following = told.err.splitlines()
    assert [line.split(":")[0] for line in said] == ["note", "run", "warning"]
    assert "learnt from phantom scanner A" in told.err
    assert "warning: learnt from synthetic tissue" in told.err
    assert (
        following == f"next: mitosieve report {tmp_path / 'd'} makes a page of it; the files in geojson/ open in QuPath"
    )
    header, *counts, path = told.out.splitlines()
    assert header.startswith("slide\ttissue mm2\tfigures")
    assert [line.split("\t")[0] for line in counts] == [image.stem for image in some]
    assert path == str(tmp_path / "d" / "detections.csv")
    table = pd.read_csv(tmp_path / "d" / "detections.csv")
    assert {"slide_id", "x", "y", "score", "screening_score", "refined_score"} <= set(table.columns)
    slides = pd.read_csv(tmp_path / "d" / "slides.csv")
    assert slides.slide_id.tolist() == [path.stem for path in some]
    assert slides.mpp.tolist() == [0.25, 0.25]
    assert slides.error.isna().all()
    for path in some:
        assert json.loads((tmp_path / "d" / "geojson" / f"{path.stem}.geojson").read_text())
        assert json.loads((tmp_path / "d" / "midog" / f"{path.stem}.json").read_text())["type"] == "Multiple points"


def test_quiet_says_the_path_alone_and_verbose_every_step(tmp_path):
    """-q: the path, and warnings; -v: each slide on the error stream once done; counts stand at the end either way."""
    words = ["detect", "--detector", a_run(), *images()[:2], "--mpp", 0.25, *ONE_CORE]
    quiet = mitosieve(*words, "--out", tmp_path / "q", "-q")
    assert quiet.out == f"{tmp_path / 'q' / 'detections.csv'}\n"
    assert all(line.startswith(("warning: ", "note: ")) for line in quiet.err.splitlines())
    loud = mitosieve(*words, "--out", tmp_path / "v", "--verbose")
    assert "2 of 2 slides" in loud.err
    assert loud.err.splitlines()[-1].startswith("next: ")
    assert len(loud.out.splitlines()) == 4
    assert "done after" in (tmp_path / "v" / "log.txt").read_text()


def test_detect_makes_the_page_at_once(tmp_path):
    """--report: the path on the last line is the page's, and the detections stand beside it."""
    words = ["--detector", a_run(), images()[0], "--mpp", 0.25, *ONE_CORE]
    told = mitosieve("detect", *words, "--out", tmp_path / "d", "--report")
    assert (told.code, told.result) == (0, tmp_path / "d" / "report.html"), told.err
    assert told.result.read_text().rstrip().endswith("</html>")
    assert (tmp_path / "d" / "detections.csv").exists()


def test_the_stages_that_a_method_announces_are_those_it_times():
    """Who waits is told 'stage 2 of 5' by names that the run's clock has, in their order."""
    timed = list(json.loads((a_run() / "timing.json").read_text()))
    recipe = load_recipe("chsnet-small")
    assert sorted(timed) == sorted(METHODS[recipe.method].stages(recipe))


def test_every_table_that_can_be_shown_is_some_method_s():
    """And every table that a method leaves for people can be shown."""
    assert set(_PRINT) == {table for method in METHODS.values() for table in method.tables}


def test_a_threshold_on_the_command_line_goes_before_the_detectors(tmp_path):
    """Everything at --threshold or above is a figure; at 1 nothing is."""
    found = {}
    for threshold in (0.1, 1):
        args = ["--mpp", 0.25, "--threshold", threshold, "--out", tmp_path / str(threshold), *ONE_CORE]
        assert mitosieve("detect", "--detector", a_run(), images()[0], *args).code == 0
        found[threshold] = pd.read_csv(tmp_path / str(threshold) / "slides.csv").figures.sum()
    assert found[0.1] > found[1] == 0


def test_images_and_cohort_give_the_same_detections(tmp_path):
    """The same slide, reached either way, has the same rows, to the byte."""
    cohort = Cohort.load(a_cohort())
    (case,) = Split.load(a_split()).fold("A").test[:1]
    slide = cohort.of_cases((case,)).slides[0]
    told = mitosieve(
        "detect",
        "--detector",
        a_run(),
        cohort.path_of(slide.slide_id),
        "--mpp",
        slide.mpp,
        "--out",
        tmp_path / "d",
        *ONE_CORE,
    )
    assert told.code == 0, told.err
    by_cohort = pd.read_csv(a_scan() / "detections.csv").query("slide_id == @slide.slide_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "d" / "detections.csv"), by_cohort)


def test_detect_says_which_part_of_a_cohort_it_did(tmp_path):
    """Without a split no part; with one the part, which the command that scores it names too, in words of a shell."""
    split = tmp_path / "my split.json"
    shutil.copy2(a_split(), split)
    words = ["detect", "--detector", a_run(), "--cohort", a_cohort(), *ONE_CORE]
    for number, (more, part, scored) in enumerate(
        (
            ([], None, None),
            (["--split", split, "--fold", "A"], "test", []),
            (["--split", split, "--fold", "A", "--part", "validation"], "validation", ["--part", "validation"]),
        )
    ):
        out = tmp_path / f"out {number}"
        told = mitosieve(*words, *more, "--out", out)
        assert told.code == 0, told.err
        assert json.loads((out / "detect.json").read_text())["part"] == part
        if scored is not None:
            line = next(line for line in told.err.splitlines() if "mitosieve evaluate" in line)
            command = shlex.split(line.partition("mitosieve ")[2])
            assert command == list(map(str, ["evaluate", out, a_cohort(), "--split", split, "--fold", "A", *scored]))
            assert mitosieve(*command).code == 0


def test_evaluate_prints_and_writes(tmp_path):
    """The table says what metrics.json says; --out chooses where; the folder scored is left alone."""
    before = files_of(a_scan())
    fold = ["--split", a_split(), "--fold", "A"]
    told = mitosieve("evaluate", a_scan(), a_cohort(), *fold, "--radius-um", 5, "--out", tmp_path / "m.json")
    assert (told.code, told.result) == (0, tmp_path / "m.json"), told.err
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["radius_um"] == 5
    pooled = metrics["pooled"]
    cells = dict(line.split("\t", 1) for line in told.out.splitlines()[:-1])["pooled"].split("\t")
    assert cells[:3] == [str(pooled[name]) for name in ("tp", "fp", "fn")]
    assert cells[3].startswith(f"{pooled['f1']:.3f}")
    assert files_of(a_scan()) == before
    assert "not looked at" not in told.err


def test_slides_that_were_not_looked_at_are_named():
    """Scored on all cases, the slides that the detector was not given count as missed, and that is said."""
    metrics = json.loads((a_scan() / "metrics.json").read_text())
    (case,) = {row["case_id"] for row in metrics["per_slide"]}
    told = mitosieve("evaluate", a_scan(), a_cohort(), "--out", a_scan().with_name("all.json"))
    others = [entry.slide_id for entry in Cohort.load(a_cohort()).slides if entry.case_id != case]
    assert told.code == 0
    assert f"{len(others)} scored slides were not looked at" in told.err
    assert all(name in told.err for name in others)


def test_crossval_pools_the_folds(tmp_path):
    """Each fold is trained and tested on its own, the pooled counts are their sums, and --resume repeats none."""
    out = tmp_path / "cv"
    words = ["crossval", "chsnet-small", a_cohort(), "--split", a_split(), "--folds", "A,B", "--out", out, *ONE_CORE]
    told = mitosieve(*words, *settings(*SHORTER))
    assert (told.code, told.result) == (0, out / "metrics.json"), told.err
    pooled = json.loads((out / "metrics.json").read_text())["pooled"]
    folds = [json.loads((out / name / "test" / "metrics.json").read_text())["pooled"] for name in "AB"]
    for count in ("tp", "fp", "fn", "slides"):
        assert pooled[count] == sum(fold[count] for fold in folds)
    before = files_of(out)
    trained = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert mitosieve(*words, *settings(*SHORTER), "--resume").code == 0
    assert files_of(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == trained
    assert mitosieve(*words, *settings(*SHORTER)).code == 2


def test_compare_prints_differences(tmp_path):
    """A copy differs from its original by nothing, and the interval of the difference says so."""
    shutil.copytree(a_scan(), tmp_path / "copy")
    told = mitosieve("compare", a_scan(), tmp_path / "copy", "--out", tmp_path / "c.json")
    assert (told.code, told.result) == (0, tmp_path / "c.json"), told.err
    assert all(row["difference"] == 0 for row in json.loads((tmp_path / "c.json").read_text())["differences"])
    assert mitosieve("compare", a_scan(), tmp_path / "copy").code == 0


def test_a_page_takes_no_other_file_s_place(tmp_path):
    """A folder, a name that is no page's, and a file that is none are refused; an older page gives way."""
    for name in ("folder", "metrics.json", "marks.html"):
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_text("not to be lost")
        refused = mitosieve("report", a_run(), a_scan(), "--out", tmp_path / name)
        assert (refused.code, str(tmp_path / name) in refused.err, "remedy: " in refused.err) == (2, True, True)
    assert {path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"not to be lost"}
    (tmp_path / "page.html").write_text("<!doctype html>")
    assert mitosieve("report", a_run(), a_scan(), "--out", tmp_path / "page.html").code == 0


def test_report_is_one_page(tmp_path):
    """The page of a run is where --out says, whole, and needs no other file."""
    told = mitosieve("report", a_run(), a_scan(), "--out", tmp_path / "page.html")
    assert (told.code, told.result) == (0, tmp_path / "page.html"), told.err
    page = (tmp_path / "page.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_info_tells_size_and_resolution():
    """info tells size and resolution."""
    told = mitosieve("info", images()[0])
    assert told.code == 0
    assert "384 x 384 px" in told.out
    assert "--mpp" in told.out


def test_get_lists_the_sets_and_what_to_fetch():
    """Alone: a row a set, with page, terms and hash; with a name: that set; nothing is fetched."""
    header, *rows = [line.split("\t") for line in mitosieve("get").out.splitlines()]
    assert header[0] == "set"
    assert [row[0] for row in rows] == list(PUBLISHED)
    assert all(row[2].startswith("http") and len(row) == 7 and all(row) for row in rows)
    assert sum(row[5] == "no hash published" for row in rows) == 4
    one = mitosieve("get", "midog-2021").out
    assert "https://zenodo.org/record/4643381" in one
    assert "8e6974adae00" in one


def test_a_table_of_folds_takes_no_number_and_no_seed(tmp_path):
    """It says what the folds are: one of the two would be ignored."""
    rows = [f"A,{case},{part}" for case, part in zip(Cohort.load(a_cohort()).cases, PARTS_OF_FOUR, strict=True)]
    table = text(tmp_path / "folds.csv", "\n".join(["fold,case,part", *rows]))
    for more in (("--folds", 5), ("--seed", 1), ("--folds", 3, "--seed", 0)):
        told = mitosieve("split", a_cohort(), "--table", table, *more, "--out", tmp_path / "s.json")
        assert (told.code, told.out) == (2, "")
        assert "--table says what the folds are" in told.err
    assert not (tmp_path / "s.json").exists()
    assert mitosieve("split", a_cohort(), "--table", table, "--out", tmp_path / "s.json").code == 0


PARTS_OF_FOUR = ("train", "train", "validation", "test")


def test_a_split_that_takes_the_place_of_another_says_so(tmp_path):
    """Not where it is the same; 5 folds and seed 1 are what nobody says."""
    file = tmp_path / "s.json"
    first = mitosieve("split", a_cohort(), "--folds", 4, "--out", file)
    assert "held another split" not in mitosieve("split", a_cohort(), "--folds", 4, "--seed", 1, "--out", file).err
    assert "held another split" not in first.err
    assert "held another split" in mitosieve("split", a_cohort(), "--folds", 3, "--out", file).err
    few = mitosieve("split", a_cohort(), "--out", file)
    assert "cannot be dealt to 5 folds" in few.err


def test_get_makes_a_cohort_with_its_splits(tmp_path):
    """Counts on stdout, then a row a split with its file, the cohort last; the copy is told on the error stream."""
    rows = ["image,case,x,y,label"]
    for case in ("H03", "H04", "H07", "H11", "H12", "H14", "H18"):
        tiff(tmp_path / f"set/frames/{case}_00Aa.png", mpp=None)
        rows.append(f"{case}_00Aa.png,{case},10,20,mitotic figure")
    text(tmp_path / "set/labels.csv", "\n".join(rows))
    without = mitosieve("get", "mitos-atypia-14", tmp_path / "set")
    assert (without.code, without.out) == (2, "")
    assert "--out" in without.err
    told = mitosieve("get", "mitos-atypia-14", tmp_path / "set", "--out", tmp_path / "c")
    assert told.code == 0
    assert told.out.splitlines()[-1] == str(tmp_path / "c")
    assert f"mitos-atypia-14-copy\t{tmp_path}/c/splits/mitos-atypia-14-copy.json\tA, B, C\t7\t6\t7" in told.out
    assert "is a copy" in told.err
    Split.load(tmp_path / "c/splits/mitos-atypia-14-copy.json").check(Cohort.load(tmp_path / "c"))
    missing = mitosieve("get", "mitos-atypia-14", tmp_path, "--out", tmp_path / "d")
    assert (missing.code, missing.out) == (2, "")
    assert "holds no slide" in missing.err


def test_recipes_are_listed_with_what_they_need_and_how_long_they_take():
    """A row a recipe: name, what it is, machine, data, minutes, on what it was tuned, as its own first lines say."""
    header, *rows = [line.split("\t") for line in mitosieve("recipes").out.splitlines()]
    assert header == ["recipe", "what it is", "machine", "data", "minutes", "tuned on"]
    assert [row[0] for row in rows] == recipe_names()
    swift = next(row for row in rows if row[0] == "swift")
    assert swift[2:] == list(vars(recipe_headers()["swift"]).values())[1:]
    assert all(len(row) == 6 and all(row) for row in rows)


def test_on_a_terminal_too_a_recipe_is_one_line_with_what_it_needs_and_its_minutes(monkeypatch):
    """However narrow it is: who asks which recipe to train is told the machine and the time beside the name."""
    screen = Console(file=StringIO(), force_terminal=True, width=40, soft_wrap=True, color_system=None)
    monkeypatch.setattr(models, "out_console", screen)
    monkeypatch.setattr(terminal, "out_console", screen)
    assert mitosieve("recipes").code == 0
    told = recipe_headers()
    lines = screen.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == list(told)
    for line, header in zip(lines, told.values(), strict=True):
        assert all(words in line for words in (header.summary, header.machine, header.minutes))


@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_recipe_is_a_recipe(name, tmp_path):
    """`mitosieve recipe NAME > mine.toml` gives the file with its comments, which loads as NAME itself does."""
    mine = tmp_path / "mine.toml"
    mine.write_text(mitosieve("recipe", name).out)
    assert load_recipe(str(mine)) == load_recipe(name)
    assert mine.read_text() == recipe_text(name)
    assert mine.read_text().count("#") > 4


def test_recipes_with_a_name_prints_it():
    """`recipes NAME` is `recipe NAME`."""
    assert mitosieve("recipes", "swift").out == recipe_text("swift")


def test_a_misspelt_recipe_is_told_by_its_neighbour():
    """Exit code 2, nothing on stdout, the nearest name in the message."""
    told = mitosieve("recipe", "dask-small")
    assert (told.code, told.out) == (2, "")
    assert "did you mean 'dasc-small'?" in told.err


def test_train_says_where_recipes_are_and_what_controls_and_parts_are():
    """A user who asks for help with training is sent to `recipes`, and told the two words that recipes use."""
    told = " ".join(mitosieve("train", "--help").out.split())
    assert all(words in told for words in ("`mitosieve recipes` lists", "Controls are", "Parts are"))


def test_stdout_holds_only_results():
    """What a script reads from stdout is tables and a path: nothing of a terminal's colours or bars."""
    told = mitosieve("evaluate", a_scan(), a_cohort(), "--out", a_scan().with_name("plain.json"))
    assert "\x1b" not in told.out + told.err
