"""What a loss does to the gradients of a model, and what is left when the pixels of highest gradient change.

python scripts/pixel_robustness.py --preset quick
python scripts/pixel_robustness.py --data hippocampus.h5 --output runs/pixels
python scripts/pixel_robustness.py --data hippocampus.h5 --preset document --seeds 5
python scripts/pixel_robustness.py --data hippocampus.h5 --models runs/train-1 runs/train-2 --no-extras
python scripts/pixel_robustness.py --resume runs/pixels
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("pixel_robustness"))
