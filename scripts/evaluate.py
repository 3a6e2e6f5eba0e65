"""Score a trained model per case on prepared data.

python scripts/evaluate.py runs/train-1 hippocampus.h5
python scripts/evaluate.py runs/train-1/model.keras toy --split validation
python scripts/evaluate.py runs/train-1 hippocampus.h5 --slice-spacing 1 --figures
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("evaluate"))
