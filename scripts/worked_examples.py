"""The worked examples of D2: every number it prints beside the correct one, its errata, its figures.

python scripts/worked_examples.py
python scripts/worked_examples.py --output runs/by_hand --no-figures
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("worked_examples"))
