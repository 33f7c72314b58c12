"""Which code and packages a run is made with."""

import subprocess

from mitosieve.run import made_with


def test_a_commit_is_that_of_the_package_alone(tmp_path, monkeypatch):
    """Installed inside somebody's repository that does not hold it, it has none; held there, that one's."""

    def git(*words):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    installed = tmp_path / ".venv" / "mitosieve" / "run" / "made_with.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git("init", "-q")
    git("add", ".gitignore")
    git("commit", "-q", "-m", "of somebody")
    monkeypatch.setattr(made_with, "__file__", str(installed))
    assert made_with.git_commit() == "none"
    git("add", "-f", str(installed))
    git("commit", "-q", "-m", "held")
    assert made_with.git_commit() == git("rev-parse", "--short=12", "HEAD")
    installed.write_text("changed")
    assert made_with.git_commit().endswith("+changes")
