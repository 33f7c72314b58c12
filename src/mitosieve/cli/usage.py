"""How each command is written: the example that its help and every refusal of its arguments show."""

EXAMPLES = {
    "import": "mitosieve import points labels.csv COHORT --images frames/ --mpp 0.25",
    "get": "mitosieve get midog-2021 FOLDER --out COHORT",
    "phantom": "mitosieve phantom COHORT --cases 12",
    "split": "mitosieve split COHORT --folds 5 --out split.json",
    "info": "mitosieve info slide.svs",
    "detect": "mitosieve detect slide.svs --out found",
    "models": "mitosieve models default",
    "train": "mitosieve train swift COHORT --split split.json --fold A --out run",
    "crossval": "mitosieve crossval swift COHORT --split split.json --out cv",
    "recipes": "mitosieve recipes swift > mine.toml",
    "recipe": "mitosieve recipe swift > mine.toml",
    "study": "mitosieve study three-methods COHORT --split split.json --out DIR",
    "evaluate": "mitosieve evaluate found COHORT --split split.json --fold A",
    "compare": "mitosieve compare one/test two/test --out differences.json",
    "report": "mitosieve report found",
    "audit": "mitosieve audit run --out audit",
    "patch-table": "mitosieve patch-table run COHORT --split split.json --fold A",
    "container": "mitosieve container --input CASE --output RESULT --model default",
}
"""By the command's name; what is in capitals stands for a path."""


def example_of(command: str | None) -> str:
    """A remedy's end: the example of a command, or where all are listed."""
    return EXAMPLES.get(command or "", "mitosieve --help")
