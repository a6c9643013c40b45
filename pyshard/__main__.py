"""``python -m pyshard``: the `pyshard` command."""

from pyshard.cli import main

if __name__ == "__main__":
    main()
