"""Turn histology, tiles of CoNSeP or arrays as PanNuke has them, into one HDF5 file of crops.

python scripts/prepare_histology.py CoNSeP_256 histology.h5
python scripts/prepare_histology.py CoNSeP_256 histology.h5 --downsample 2 --crop 96
python scripts/prepare_histology.py PanNuke pannuke.h5 --downsample 2 --crop 128
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("prepare_histology"))
