"""A box with one tiny detector, put there by the script that puts them into the package."""

import importlib.util
from pathlib import Path

import torch

from mitosieve.models.card import Card, DataUse, SourceScore
from mitosieve.network.config import ChsNetConfig
from mitosieve.network.registry import build_network
from mitosieve.patch.frames import FrameConfig
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import GridProposer

ROOT = Path(__file__).parents[1]
POINTS = {"sensitive": 0.2, "balanced": 0.5, "specific": 0.8}


def shipping():
    """`bench/ship.py` as a module."""
    spec = importlib.util.spec_from_file_location("ship", ROOT / "bench" / "ship.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_tiny_detector(threshold=0.5):
    torch.manual_seed(0)
    network = ChsNetConfig(width=1 / 128)
    config = DetectorConfig(
        made_by="a test",
        frame=FrameConfig(mpp=0.25, stain="none"),
        proposer=GridProposer(stride_px=32),
        stages=(Stage(name="only", network=network, threshold=threshold),),
    )
    return Detector(config=config, networks=((build_network(network).eval(),),))


def a_card(**changes):
    drawn = DataUse(
        source="phantom", what="drawn", used="training", patients=("p1",), slides=1, figures=3, terms="ours"
    )
    score = SourceScore(
        source="phantom", patients=2, figures=9, f1=0.5, f1_interval=(0.25, 0.75), recall=0.5, note="made | up"
    )
    whole = Card(
        summary="A detector of nothing",
        commands=("mitosieve train nothing",),
        data=(drawn,),
        held_out="p2 and p3",
        scores=(score,),
        scores_command="mitosieve evaluate nothing",
        limits=("it knows nothing",),
    )
    return Card.model_validate(whole.model_dump() | changes)


def a_box(folder: Path, name="tiny", detector=None) -> Path:
    folder.mkdir(exist_ok=True)
    shipping().ship(a_tiny_detector() if detector is None else detector, a_card(), name, folder)
    return folder
