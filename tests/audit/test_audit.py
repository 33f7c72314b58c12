"""The audit of a run's labels: each training label once, ranked, and nothing of other cases."""

import json
import re
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from audited_run import EPOCHS, FOLD, a_dasc_run, a_phantom
from mitosieve.annotation import Label
from mitosieve.audit.corrections import import_corrections
from mitosieve.audit.dasc_run import DascRun
from mitosieve.audit.neighbours import nearest
from mitosieve.audit.ranking import cleanlab_verdict, mean_confidence, mean_loss, rank_overlap
from mitosieve.audit.report import LOOKS_LIKE_FIGURE, LOOKS_LIKE_IMPOSTER, audit
from mitosieve.audit.suspects import sparkline
from mitosieve.cohort.place import place_id
from mitosieve.errors import CohortError, FormatError, FrameError, RunFolderError
from tiny import mitosieve


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, its cohort, and its audit, for tests that only look."""
    folder = tmp_path_factory.mktemp("audit")
    cohort = a_phantom(folder / "cohort")
    run = a_dasc_run(folder / "run", cohort)
    report = audit(run, folder / "out", top=5, background=4)
    return cohort, run, report


@pytest.fixture
def copied(made, tmp_path):
    """A run that may be spoilt."""
    return shutil.copytree(made[1], tmp_path / "run")


def table_of(report):
    return pd.read_csv(report.out / "audit.csv", keep_default_na=False)


def points_of(report):
    return {p.stem: json.loads(p.read_text())["features"] for p in sorted((report.out / "qupath").iterdir())}


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(path, **columns):
    """Rewrite columns of a parquet file."""
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def rearranged(path, **arrays):
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **(content | arrays))


def test_every_training_label_stands_once_by_falling_suspicion(made):
    """As many rows as labels; ties by slide, y, x; ranks count from 1."""
    cohort, run, report = made
    table, labels = table_of(report), pd.read_parquet(run / "labels.parquet")
    assert sorted(table.patch_id) == sorted(labels.patch_id)
    assert table["rank"].tolist() == list(range(1, len(labels) + 1))
    keys = list(zip(-table.suspicion, table.slide_id, table.y, table.x, strict=True))
    assert keys == sorted(keys)
    own = labels.set_index("patch_id").loc[table.patch_id]
    names = {"figure": "mitotic figure", "imposter": "imposter", "background": "background"}
    assert table.label.tolist() == [names[origin] for origin in own.origin]
    for row, mark in zip(table.itertuples(), own.mark, strict=True):
        if mark >= 0:
            np.testing.assert_allclose((row.x, row.y), cohort.annotations.center_l0[mark], atol=0.005)
            score = cohort.annotations.score[mark]
            assert row.score == ("" if np.isnan(score) else f"{score:.6f}")
        assert row.mark == ("" if mark < 0 else str(mark))


def test_directions_contradict_the_label(made):
    """A figure may look like an imposter, all others like a figure; each for a reason that the table shows."""
    table = table_of(made[2])
    figure = table.label == "mitotic figure"
    own = np.where(figure, table.out_of_fold, 1 - table.out_of_fold)
    late = pd.to_numeric(table.confidence_late)
    against = (table.verdict == "noise") | (own < 0.5) | (late < 0.5)
    expected = np.where(against, np.where(figure, LOOKS_LIKE_IMPOSTER, LOOKS_LIKE_FIGURE), "")
    near_half = (np.abs(own - 0.5) < 1e-5) | (np.abs(late - 0.5) < 1e-5)
    assert (table.direction == expected)[~near_half].all()


def test_neighbours_are_those_of_a_double_loop(made):
    """Nearest of the own and of the other class, itself excluded, of equal ones the lower row."""
    run = DascRun.load(made[1])
    z, label = run.embedding.astype(np.float64), run.label
    found = nearest(run.embedding, label)
    for i in range(len(z)):
        best = {True: (-2.0, -1), False: (-2.0, -1)}
        for j in range(len(z)):
            near = float(z[i] @ z[j]) / np.linalg.norm(z[i]) / np.linalg.norm(z[j])
            mine = bool(label[i] == label[j])
            if i != j and near > best[mine][0] + 1e-12:
                best[mine] = (near, j)
        assert (best[True][1], best[False][1]) == (found.same[i], found.other[i])
        np.testing.assert_allclose(
            (best[True][0], best[False][0]), (found.same_similarity[i], found.other_similarity[i]), atol=1e-12
        )


def test_the_table_names_the_neighbours_places(made):
    """Slide and position of a neighbour are those of another row of the table, of the class it must have."""
    table = table_of(made[2])
    places = {(row.slide_id, f"{row.x:.2f}", f"{row.y:.2f}"): row.label for row in table.itertuples()}
    for row in table.itertuples():
        same = places[row.same_slide_id, f"{row.same_x:.2f}", f"{row.same_y:.2f}"]
        other = places[row.other_slide_id, f"{row.other_x:.2f}", f"{row.other_y:.2f}"]
        assert (same == "mitotic figure") == (row.label == "mitotic figure") != (other == "mitotic figure")


def test_a_class_of_one_and_no_other_class_have_no_neighbour():
    """Row -1 and an unknown similarity; a vector of length 0 is as near to all, and takes the lower row."""
    z = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float16)
    found = nearest(z, np.array([1, 0, 0]))
    assert (found.same.tolist(), found.other.tolist()) == ([-1, 2, 1], [1, 0, 0])
    assert np.isnan(found.same_similarity[0])
    assert (nearest(z, np.zeros(3, dtype=np.int8)).other == -1).all()


def test_the_order_of_rows_changes_no_neighbour_but_among_equals():
    """Similarities are exact: in any order of rows, and whatever the chunk, they are the same to the last bit."""
    generator = np.random.default_rng(5)
    z = generator.normal(size=(60, 33))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float16)
    label, order = generator.integers(0, 2, 60), generator.permutation(60)
    first, second = nearest(z, label), nearest(z[order], label[order])
    np.testing.assert_array_equal(first.other_similarity[order], second.other_similarity)
    np.testing.assert_array_equal(first.same_similarity[order], second.same_similarity)


def test_cleanlab_columns_are_cleanlabs_own(made):
    """Its verdict and quality are those of a direct call on the out-of-fold probabilities."""
    _, run, report = made
    labels, score = pd.read_parquet(run / "labels.parquet"), pd.read_parquet(run / "out-of-fold.parquet").score
    y, p = labels.label.to_numpy(dtype=np.int64), np.column_stack([1 - score, score])
    table = table_of(report).set_index("patch_id").loc[labels.patch_id]
    assert (table.cleanlab_issue == "yes").tolist() == find_label_issues(y, p, n_jobs=1).tolist()
    np.testing.assert_allclose(table.cleanlab_quality, get_label_quality_scores(y, p), atol=1e-6)


@pytest.mark.parametrize("label", [[0, 0, 0, 0], [1, 0, 0, 0]])
def test_cleanlab_on_a_class_that_is_missing_or_single_finds_nothing_there(label):
    """No warning, no fault, no NaN."""
    issue, quality = cleanlab_verdict(np.array(label), np.array([0.1, 0.2, 0.9, 0.3]))
    assert not issue[0]
    assert np.isfinite(quality).all()


def test_confidence_and_loss_are_means_over_visited_epochs(made):
    """By plain loops; a label that was never visited has none, and ranks last by loss."""
    _, run, report = made
    with np.load(run / "memory-history.npz") as file:
        history = file["fused"].astype(np.float64)
    last = -(-EPOCHS // 3)
    np.testing.assert_allclose(mean_loss(history)[1:], np.nanmean(-np.log(history[:, 1:]), axis=0))
    np.testing.assert_allclose(mean_confidence(history, last=1 / 3)[1:], np.nanmean(history[-last:, 1:], axis=0))
    assert np.isnan(mean_loss(history)[0])
    assert np.isnan(mean_confidence(history)[0])
    table = table_of(report)
    never = table[table.loss == ""]
    assert never.loss_rank.tolist() == [len(table)]
    seen = table[table.loss != ""].sort_values("loss_rank")
    assert (np.diff(pd.to_numeric(seen.loss)) <= 1e-6).all()


def test_rankings_agree_with_themselves_and_not_with_their_reverse():
    """Correlation 1 and all shared; -1 and none; a ranking without order has no correlation."""
    values = np.arange(20.0)
    assert rank_overlap(values, values**3, top=4).spearman == pytest.approx(1)
    assert rank_overlap(values, values**3, top=4).shared == 4
    assert rank_overlap(values, -values, top=4).spearman == pytest.approx(-1)
    assert rank_overlap(values, -values, top=4).shared == 0
    assert rank_overlap(values, np.zeros(20), top=4).spearman is None
    assert rank_overlap(values, np.where(values < 2, np.nan, values), top=4).shared == 4


def test_nothing_of_validation_and_test_cases_is_written(made):
    """Not one slide or case of them is named in any file."""
    cohort, _, report = made
    others = FOLD["validation"] + FOLD["test"]
    names = {entry.slide_id for entry in cohort.of_cases(tuple(others)).slides} | set(others)
    for name, content in files_of(report.out).items():
        for other in names:
            assert other not in name
            assert other.encode() not in content, name


def test_points_hold_all_marks_and_the_most_suspicious_places_without(made):
    """Every mark of the slide once, with the id of its row; four places that look like figures, over all slides."""
    cohort, _, report = made
    table, points = table_of(report), points_of(report)
    marks = cohort.annotations
    for slide_id, features in points.items():
        rows = [int(f["properties"]["metadata"]["row"]) for f in features]
        assert sorted(row for row in rows if row >= 0) == np.flatnonzero(marks.slide_id == slide_id).tolist()
        for row, feature in zip(rows, features, strict=True):
            if row >= 0:
                x, y = marks.center_l0[row]
                assert feature["id"] == place_id(slide_id, x, y, row)
                np.testing.assert_allclose(feature["geometry"]["coordinates"], (x + 0.5, y + 0.5), atol=0.006)
            assert feature["properties"]["objectType"] == "annotation"
            assert all(isinstance(value, str) for value in feature["properties"]["metadata"].values())
    unmarked = [
        int(f["properties"]["metadata"]["rank"])
        for features in points.values()
        for f in features
        if f["properties"]["classification"]["name"] == "Background"
    ]
    suspected = table[(table.label == "background") & (table.direction == LOOKS_LIKE_FIGURE)]
    assert sorted(unmarked) == suspected["rank"].tolist()[:4]


class Page(HTMLParser):
    """What the page shows: pictures, cells, curves, and addresses that it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]


def test_the_page_shows_the_first_of_both_directions_and_fetches_nothing(made):
    """Five cells each with a curve and two pictures, by slide; every address is within the page."""
    table, text = table_of(made[2]), (made[2].out / "index.html").read_text()
    page = Page(text)
    shown = sum(min(5, int((table.direction == d).sum())) for d in (LOOKS_LIKE_FIGURE, LOOKS_LIKE_IMPOSTER))
    assert page.tags.count("article") == page.tags.count("svg") == shown
    assert page.tags.count("img") == 2 * shown
    assert all(source.startswith(("data:image/webp;base64,", "#")) for source in page.sources)
    assert "Research use only" in text
    assert "Validation and test cases were never looked at" in text
    numbers = [int(n) for n in re.findall(r"<dt>#(\d+)</dt>", text)]
    wanted = [table[table.direction == d]["rank"].tolist()[:5] for d in (LOOKS_LIKE_IMPOSTER, LOOKS_LIKE_FIGURE)]
    slide_of = dict(zip(table["rank"], table.slide_id, strict=True))
    groups = [name for name, _ in groupby(numbers, slide_of.get)]
    assert sorted(numbers) == sorted(wanted[0] + wanted[1])
    assert len(groups) == len(set(groups)) > 1
    assert numbers == sorted(numbers, key=lambda rank: (groups.index(slide_of[rank]), rank))
    assert [slide_of[min(numbers)]] == groups[:1]


def test_the_page_says_in_words_what_the_training_recorded(made):
    """How many epochs doubted a label, of those that saw it; by a loop over the run's history."""
    _, run, report = made
    table, text = table_of(report), " ".join((report.out / "index.html").read_text().split())
    labels = pd.read_parquet(run / "labels.parquet").patch_id.tolist()
    with np.load(run / "memory-history.npz") as file:
        history = file["fused"].astype(np.float64)
    articles = re.findall(r'<article[^>]*data-rank="(\d+)".*?</article>', text)
    told = {int(a): t for a, t in re.findall(r'<article[^>]*data-rank="(\d+)"(.*?)</article>', text)}
    assert len(articles) == len(told) > 5
    for row in table.itertuples():
        if row.rank not in told:
            continue
        seen = [value for value in history[:, labels.index(row.patch_id)] if not np.isnan(value)]
        doubted = sum(value < 0.5 for value in seen)
        words = re.sub(r"<[^>]*>", " ", told[row.rank])
        if seen:
            assert f"in {doubted} of {len(seen)} epochs" in words
        else:
            assert "doubted" not in words
        stranger = "a figure" if row.out_of_fold >= 0.5 else "no figure"
        assert f"had not seen this patient calls it {stranger}." in words


def test_a_curve_is_broken_where_a_label_was_not_visited():
    """A point for every visit; one alone is doubled, so that it shows; nothing of nothing."""
    nan = float("nan")
    lines = sparkline([0.0, 1.0, nan, 0.5, nan, 0.2, 0.3])
    assert [len(line.split()) for line in lines] == [2, 2, 2]
    assert lines[1].split()[0] == lines[1].split()[1]
    assert sparkline([nan, nan]) == sparkline([]) == ()


def test_equal_inputs_give_equal_bytes_and_nothing_is_overwritten(made, tmp_path):
    """A second audit elsewhere is the same; into the same folder it is refused and leaves all as it was."""
    _, run, report = made
    assert files_of(audit(run, tmp_path / "again", top=5, background=4).out) == files_of(report.out)
    before = files_of(report.out)
    with pytest.raises(RunFolderError, match="holds something already"):
        audit(run, report.out)
    assert files_of(report.out) == before


def test_a_slide_that_cannot_be_read_is_named_and_the_rest_is_shown(made, tmp_path):
    """Its cells are listed without picture; table and points are whole."""
    cohort, _, report = made
    moved = shutil.copytree(cohort.folder, tmp_path / "cohort")
    (moved / cohort.entry("case01_slide1").path).write_bytes(b"no image")
    run = a_dasc_run(tmp_path / "run", type(cohort).load(moved))
    spoilt = audit(run, tmp_path / "out", top=5, background=4)
    assert len(spoilt.failed) == 1
    assert spoilt.failed[0].startswith("case01_slide1: ")
    text = (spoilt.out / "index.html").read_text()
    assert spoilt.failed[0].split(":")[0] in text
    assert "picture not available" in text
    assert "data:image/webp" in text
    for name in ("audit.csv", "qupath/case01_slide1.geojson"):
        assert (spoilt.out / name).read_bytes() == (report.out / name).read_bytes()


@pytest.mark.parametrize("name", ["memory", "verdicts", "out-of-fold"])
def test_a_table_of_another_index_is_refused(copied, tmp_path, name):
    """One other id, another order, or a row less."""
    path = copied / f"{name}.parquet"
    table = pd.read_parquet(path)
    for other in (table.assign(patch_id=table.patch_id + 1), table.iloc[::-1], table.iloc[1:]):
        other.to_parquet(path)
        with pytest.raises(FrameError, match="is of another patch index") as caught:
            audit(copied, tmp_path / "out")
        assert caught.value.where == str(path)
    assert not (tmp_path / "out").exists()


def test_arrays_of_another_index_are_refused(copied, tmp_path):
    """A history of other width; an embedding with other ids."""
    with np.load(copied / "memory-history.npz") as file:
        fused = file["fused"]
    rearranged(copied / "memory-history.npz", fused=fused[:, 1:])
    with pytest.raises(FrameError, match="another patch index"):
        audit(copied, tmp_path / "out")
    rearranged(copied / "memory-history.npz", fused=fused)
    rearranged(copied / "embedding.npz", patch_id=np.arange(fused.shape[1]))
    with pytest.raises(FrameError, match="another patch index"):
        audit(copied, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("verdicts", {"suspicion": np.nan}, "suspicion that is not 0 to 1"),
        ("verdicts", {"suspicion": 1.5}, "suspicion that is not 0 to 1"),
        ("verdicts", {"verdict": "odd"}, "unknown verdict"),
        ("verdicts", {"level": None}, "cannot be read"),
        ("verdicts", {"level": 4}, "level that is not -1 to 3"),
        ("labels", {"patch_id": "odd"}, "cannot be read"),
        ("out-of-fold", {"score": np.nan}, "score that is not 0 to 1"),
        ("labels", {"origin": "mined"}, "unknown origin"),
        ("labels", {"label": 1}, "not that of its origin"),
        ("labels", {"x": np.inf}, "not finite"),
    ],
)
def test_values_that_cannot_be_are_refused(copied, tmp_path, name, columns, words):
    """The file is named, and nothing is written: a NaN would rank as unsuspicious."""
    changed(copied / f"{name}.parquet", **columns)
    with pytest.raises(FormatError, match=words) as caught:
        audit(copied, tmp_path / "out")
    assert name in str(caught.value.where)
    assert not (tmp_path / "out").exists()


def test_missing_and_broken_files_are_named(copied, tmp_path):
    """What no stage made yet, and what was cut off."""
    whole = (copied / "embedding.npz").read_bytes()
    (copied / "embedding.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        audit(copied, tmp_path / "out")
    (copied / "embedding.npz").unlink()
    with pytest.raises(RunFolderError, match=r"has no embedding.npz to audit"):
        audit(copied, tmp_path / "out")
    (copied / "verdicts.parquet").write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="cannot be read"):
        audit(copied, tmp_path / "out")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        audit(tmp_path, tmp_path / "out")


def test_labels_of_a_test_case_are_refused(copied, tmp_path):
    """The fold says which cases were trained on; a label of another is a leak, not a thing to audit."""
    mark = json.loads((copied / "run.json").read_text())
    mark["provenance"]["fold"] |= {"train": ["case01"], "test": ["case02"]}
    (copied / "run.json").write_text(json.dumps(mark))
    with pytest.raises(FrameError, match="case case02, which fold A does not train on"):
        audit(copied, tmp_path / "out")


def test_another_state_of_the_cohort_is_refused(made, tmp_path):
    """A changed label, and a cohort that is gone."""
    cohort = type(made[0]).load(shutil.copytree(made[0].folder, tmp_path / "cohort"))
    run = a_dasc_run(tmp_path / "run", cohort)
    marks = cohort.folder / "annotations.csv"
    marks.write_text(marks.read_text().replace(",imposter,", ",mitotic figure,", 1))
    with pytest.raises(CohortError, match="is in another state than run was trained on"):
        audit(run, tmp_path / "out")
    shutil.rmtree(cohort.folder)
    with pytest.raises(CohortError, match="the cohort of run is gone"):
        audit(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_marks_that_are_not_the_cohorts_are_refused(copied, tmp_path):
    """A row of another label."""
    labels = pd.read_parquet(copied / "labels.parquet")
    rows = labels.index[labels.mark >= 0][:2]
    labels.loc[rows, "mark"] = labels.loc[rows, "mark"].to_numpy()[::-1]
    one, two = (labels.loc[row] for row in rows)
    labels.loc[labels.mark >= 0, "mark"] = np.roll(labels.mark[labels.mark >= 0], 1)
    labels.to_parquet(copied / "labels.parquet")
    assert one.patch_id != two.patch_id
    with pytest.raises(FrameError, match="not those of the cohort"):
        audit(copied, tmp_path / "out")


def test_what_an_audit_wrote_comes_back_as_corrections(made, tmp_path):
    """Untouched, it changes nothing; a background place made a figure becomes a mark where the audit saw it."""
    cohort, _, report = made
    now = datetime(2026, 1, 2, tzinfo=UTC)
    same = import_corrections(report.out / "qupath", cohort.folder, tmp_path / "same", now=now)
    assert same.total.changed == 0
    assert (tmp_path / "same" / "annotations.csv").read_bytes() == (cohort.folder / "annotations.csv").read_bytes()
    folder = shutil.copytree(report.out / "qupath", tmp_path / "points")
    for path in folder.iterdir():
        path.write_text(path.read_text().replace('"name":"Background"', '"name":"Mitotic figure"'))
    new = import_corrections(folder, cohort.folder, tmp_path / "new", now=now)
    assert (new.total.added, new.total.to_figure, new.total.to_imposter) == (4, 0, 0)
    added = new.cohort.annotations[len(cohort.annotations) :]
    assert (added.label == Label.MITOTIC_FIGURE.value).all()
    table = table_of(report)
    places = set(zip(table.slide_id, table.x, table.y, strict=True))
    assert {(s, x, y) for s, (x, y) in zip(added.slide_id.tolist(), added.center_l0.tolist(), strict=True)} <= places


def test_the_command_lines_print_counts_and_where_the_result_is(made, tmp_path):
    """Audit, correct, import: three commands; the last line is the page, and the new cohort."""
    cohort, run, report = made
    told = mitosieve("audit", run, "--out", tmp_path / "out", "--top", 5, "--background", 4)
    assert (told.code, told.result) == (0, tmp_path / "out" / "index.html")
    rows = [line.split("\t") for line in told.out.splitlines()[1:-1]]
    assert sum(int(number) for row in rows for number in row[1:]) == len(table_of(report))
    assert files_of(tmp_path / "out") == files_of(report.out)
    path = tmp_path / "out" / "qupath" / "case01_slide1.geojson"
    path.write_text(path.read_text().replace('"name":"Imposter"', '"name":"Mitotic figure"', 2))
    told = mitosieve("import", "corrections", path, cohort.folder, "--out", tmp_path / "new")
    assert (told.code, told.result) == (0, tmp_path / "new")
    assert told.out.splitlines()[1:-1] == ["case01_slide1\t2\t0\t0", "total\t2\t0\t0"]
    told = mitosieve("import", "corrections", path, tmp_path / "new", "--out", tmp_path / "newer")
    assert told.code == 0
    assert "0 changes" in told.err


def test_corrections_need_a_new_folder_and_nothing_else_takes_one(made, tmp_path):
    """Without --out, with --mpp, and --out with another format: bad input, and nothing is written."""
    cohort, _, report = made
    source, out = report.out / "qupath", tmp_path / "new"
    for words, said in (
        (("corrections", source, cohort.folder), "name its folder with --out"),
        (("corrections", source, cohort.folder, "--out", out, "--mpp", "0.25"), "leave out --mpp"),
        (("points", source, cohort.folder, "--out", out), "--out is for corrections and reviews only"),
    ):
        told = mitosieve("import", *words)
        assert (told.code, told.out) == (2, "")
        assert said in told.err
    assert not out.exists()


def test_a_slide_without_picture_is_exit_code_1(made, tmp_path):
    """It is named, and the rest is done."""
    cohort, _, _ = made
    moved = shutil.copytree(cohort.folder, tmp_path / "cohort")
    (moved / cohort.entry("case02_slide1").path).unlink()
    run = a_dasc_run(tmp_path / "run", type(cohort).load(moved))
    told = mitosieve("audit", run, "--out", tmp_path / "out")
    assert (told.code, told.result) == (1, tmp_path / "out" / "index.html")
    assert "failed: case02_slide1: the image of this slide is missing" in told.err
