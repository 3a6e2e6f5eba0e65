"""Train on images that were perturbed for a model, and see what attacks leave of each model (document D4).

python scripts/robust_training.py --preset quick
python scripts/robust_training.py --data histology.h5 --output runs/robust
python scripts/robust_training.py --data kandinsky.h5 --search beam --no-extras
python scripts/robust_training.py --data histology.h5 --preset document --seeds 5
python scripts/robust_training.py --resume runs/robust
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("robust_training"))
