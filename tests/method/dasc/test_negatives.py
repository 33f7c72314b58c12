"""Negative search of DASC: what it learns from, what it keeps, and what is told of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mitosieve.errors import DetectorError, TrainingError
from mitosieve.method.dasc.method import gather
from mitosieve.method.dasc.negatives import (
    balance,
    candidate_rows,
    random_negatives,
    screening_rows,
    search_negatives,
)
from mitosieve.network.registry import build_network, load_weights
from mitosieve.patch.frames import FrameStore
from mitosieve.patch.index import Origin
from mitosieve.run.folder import RunFolder
from small_dasc import a_cohort, a_job, a_recipe


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Job and candidates of a small cohort; its slides are rendered once."""
    folder = tmp_path_factory.mktemp("negatives")
    job, recipe = a_job(a_cohort(folder / "cohort", cases=3), folder / "run"), a_recipe()
    return job, gather(recipe, job, FrameStore(job.file("frames"), recipe.frame, margin_px=recipe.margin_px))


@pytest.fixture(scope="module")
def searched(material, tmp_path_factory):
    """The search done once: the job with its network, the rows, and the scores."""
    job = replace(material[0], run=RunFolder(tmp_path_factory.mktemp("searched")))
    return job, *search_negatives(a_recipe(), job, material[1])


@pytest.fixture(scope="module")
def places(material):
    return material[1].train.places


def test_so_many_candidates_of_each_slide_are_learned_from(places):
    """Of every slide `per_figure` for each figure, or all where there are fewer; of a slide without figures none."""
    slides, origin = places.index.slide_id, places.index.origin
    for each in (1, 2, 100):
        rows = screening_rows(a_recipe(f"search.per_figure={each}"), places)
        assert (origin[rows] == Origin.BACKGROUND.value).all()
        assert len(np.unique(rows)) == len(rows)
        for name in np.unique(slides):
            mine = slides == name
            figures, candidates = ((origin == kind.value) & mine for kind in (Origin.FIGURE, Origin.BACKGROUND))
            assert mine[rows].sum() == min(each * figures.sum(), candidates.sum())


def test_a_slide_without_figures_lends_no_candidate(places):
    """Unless no slide has any: then all candidates count."""
    bare = places[places.index.origin != Origin.FIGURE.value]
    assert screening_rows(a_recipe(), bare).tolist() == bare.with_origin(Origin.BACKGROUND).tolist()


def test_what_the_search_keeps(material, places, searched):
    """All figures, all imposters, and of the candidates those whose score is above the threshold; ascending."""
    job, chosen, score = searched
    recipe, origin = a_recipe(), places.index.origin
    network = build_network(recipe.network.model_copy(update={"stages": recipe.search.stages}))
    load_weights(network, job.file("networks/screening.safetensors"))
    np.testing.assert_array_equal(score, material[1].train.score(network, np.arange(len(places)), job.compute))
    wanted = (origin != Origin.BACKGROUND.value) | (score > recipe.search.threshold)
    told = balance(recipe, places, chosen, score)
    assert chosen.tolist() == np.flatnonzero(wanted).tolist()
    for kind in (Origin.FIGURE, Origin.IMPOSTER, Origin.BACKGROUND):
        mine = origin == kind.value
        assert told[kind.value]["of"] == mine.sum()
        assert told[kind.value]["kept"] == (mine & wanted).sum()
        expected = np.quantile(score[mine & wanted], (0.1, 0.5, 0.9))
        np.testing.assert_allclose(told[kind.value]["score_quantiles"], expected, atol=1e-4)
    assert told["threshold"] == recipe.search.threshold


def test_a_limit_draws_from_the_false_positives(material, places, searched):
    """`most` of them, all of the same set, and the same ones again; a limit above their number changes nothing."""
    job, chosen, _ = searched
    origin = places.index.origin
    all_of_them = chosen[origin[chosen] == Origin.BACKGROUND.value]
    few, _ = search_negatives(a_recipe("search.most=3"), job, material[1])
    drawn = few[origin[few] == Origin.BACKGROUND.value]
    assert len(drawn) == 3 < len(all_of_them)
    assert set(drawn) <= set(all_of_them)
    assert (np.diff(few) > 0).all()
    assert search_negatives(a_recipe("search.most=3"), job, material[1])[0].tolist() == few.tolist()
    assert search_negatives(a_recipe("search.most=1000"), job, material[1])[0].tolist() == chosen.tolist()


def test_imposters_that_are_not_known_are_candidates_as_all_others(material, tmp_path):
    """The negatives are then what the search takes for a figure, so marked too: the hardest of them are not lost."""
    recipe, job = a_recipe("search.imposters=false"), replace(material[0], run=RunFolder(tmp_path))
    pools = gather(recipe, job, FrameStore(job.file("frames"), recipe.frame, margin_px=recipe.margin_px))
    places = pools.train.places
    origin = places.index.origin
    assert candidate_rows(recipe, places).tolist() == np.flatnonzero(origin != Origin.FIGURE.value).tolist()
    chosen, score = search_negatives(recipe, job, pools)
    wanted = (origin == Origin.FIGURE.value) | (score > recipe.search.threshold)
    assert chosen.tolist() == np.flatnonzero(wanted).tolist()
    told = balance(recipe, places, chosen, score)["imposter"]
    assert 0 < told["kept"] <= told["of"]
    drawn = random_negatives(recipe, places, 10_000)
    assert len(drawn) == len(places)
    few = screening_rows(a_recipe("search.imposters=false", "search.per_figure=100"), places)
    assert Origin.IMPOSTER.value in origin[few]


def test_without_any_negative_it_says_what_to_do(material, searched):
    """Nothing is above a threshold of 1; with imposters there are negatives all the same."""
    job, _, _ = searched
    with pytest.raises(TrainingError, match="takes none of") as told:
        search_negatives(a_recipe("search.threshold=1.0", "search.imposters=false"), job, material[1])
    assert "search.threshold" in told.value.remedy
    assert len(search_negatives(a_recipe("search.threshold=1.0"), job, material[1])[0])


def test_random_negatives_are_as_many_as_asked_for(places):
    """Beside all figures and imposters; never more than there are, and the same ones again."""
    recipe, origin = a_recipe(), places.index.origin
    candidates = int((origin == Origin.BACKGROUND.value).sum())
    for count in (0, 5, candidates, 10_000):
        rows = random_negatives(recipe, places, count)
        assert (origin[rows] == Origin.BACKGROUND.value).sum() == min(count, candidates)
        assert (origin[rows] != Origin.BACKGROUND.value).sum() == len(places) - candidates
        assert (np.diff(rows) > 0).all()
        assert random_negatives(recipe, places, count).tolist() == rows.tolist()
    told = balance(recipe, places, random_negatives(recipe, places, 5), None)
    assert (told["threshold"], told["background"]) == (None, {"of": candidates, "kept": 5})


def test_initial_weights_are_those_of_the_screening_network_too(material, tmp_path):
    """Weights that do not fit are refused before a step is made."""
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.safetensors")
    job = replace(material[0], run=RunFolder(tmp_path / "run"))
    recipe = a_recipe(f"initial={tmp_path / 'w.safetensors'}")
    with pytest.raises(DetectorError, match="public ResNet-18 layout"):
        search_negatives(recipe, job, material[1])
    assert not (tmp_path / "run").exists()
