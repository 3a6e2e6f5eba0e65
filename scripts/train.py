"""Train a U-Net, score it, and keep everything in one folder.

python scripts/train.py --loss dicefg --bn
python scripts/train.py --data hippocampus.h5 --loss bce+dice --bn
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("train"))
