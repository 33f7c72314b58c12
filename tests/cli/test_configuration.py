"""mitosieve.toml: machine and detector by default, the nearer word before the farther one, and nothing else."""

import json

import pytest

from mitosieve.cli.configuration import configuration
from mitosieve.errors import FormatError
from tiny import ONE_CORE, a_run, images, mitosieve


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The user's directory and the current folder, both empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "mitosieve").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home" / "mitosieve" / "mitosieve.toml", tmp_path / "here" / "mitosieve.toml"


def test_the_folder_goes_before_the_user(places):
    """Key by key; a detector's folder is looked for beside the file that names it."""
    user, here = places
    assert configuration().values == {}
    user.write_text('threads = 3\ndevice = "cuda"\ntissue = "breast"\n')
    here.write_text('device = "cpu"\ndetector = "ours"\n')
    (here.parent / "ours").mkdir()
    assert configuration().values == {
        "threads": 3,
        "device": "cpu",
        "tissue": "breast",
        "detector": str(here.parent / "ours"),
    }
    assert configuration().files == (user, here)


def test_a_command_takes_it_and_its_own_words_go_first(places):
    """detect without --detector uses the configured one; --device on the line goes before the file's."""
    _, here = places
    here.write_text(f'detector = "{a_run()}"\ndevice = "tpu"\n')
    words = ["detect", images()[0], "--mpp", 0.25, *ONE_CORE]
    told = mitosieve(*words, "--out", "found")
    assert (told.code, "unknown device 'tpu'" in told.err) == (2, True)
    told = mitosieve(*words, "--out", "found", "--device", "cpu")
    assert told.code == 0, told.err
    assert json.loads((here.parent / "found" / "detect.json").read_text())["detector"] == str(a_run())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threshold = 0.5", ("unknown key 'threshold'", "science belongs in a recipe")),
        ("thread = 2", ("did you mean 'threads'",)),
        ('threads = "two"', ("threads is 'two'", "a whole number")),
        ("device = 1", ("device is 1", "text")),
        ("threads = true", ("threads is True",)),
        ("[", ("cannot be read",)),
    ],
)
def test_what_is_no_machine_is_refused(places, text, said):
    """A number of science, a misspelt key or a wrong type: the file is named, and no command runs."""
    _, here = places
    here.write_text(text)
    with pytest.raises(FormatError) as told:
        configuration()
    assert str(here) in str(told.value)
    for part in said:
        assert part in str(told.value)
    assert mitosieve("recipes").code == 2
