"""`python -m mitosieve.cli`."""

from mitosieve.cli import main

if __name__ == "__main__":
    main()
