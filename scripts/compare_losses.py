"""Compare losses on any data: which is better, how surely, at which learning rate, at what cost (document D3).

python scripts/compare_losses.py --preset quick
python scripts/compare_losses.py --data chest_xray.h5 --output runs/losses
python scripts/compare_losses.py --data hippocampus.h5 --losses dicefg "cce + dicefg" focal --slice-spacing 1
python scripts/compare_losses.py --data histology.h5 --losses all --budget 60 --finalists 5
python scripts/compare_losses.py --resume runs/losses
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("compare_losses"))
