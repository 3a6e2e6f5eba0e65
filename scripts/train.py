"""Train a U-Net, score it, and keep everything in one folder.

python scripts/train.py --loss dicefg --bn
python scripts/train.py --data hippocampus.h5 --loss bce+dice --augment flip rotate elastic --schedule cosine
python scripts/train.py --data hippocampus.h5 --loss bce+dice --dry-run
python scripts/train.py --resume runs/train-1
python scripts/train.py --config runs/train-1/record.json --output again
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("train"))
