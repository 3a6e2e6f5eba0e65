"""List the losses, show the card of one and draw what it does.

python scripts/losses.py
python scripts/losses.py dicefg
python scripts/losses.py "bce + 0.5*dice" --output bce_dice.png
python scripts/losses.py --table
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("losses"))
