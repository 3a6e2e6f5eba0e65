"""Turn the hippocampus volumes of the Medical Segmentation Decathlon into one HDF5 file.

python scripts/prepare_hippocampus.py Task04_Hippocampus hippocampus.h5
python scripts/prepare_hippocampus.py Task04_Hippocampus parts.h5 --classes all --max-value 1
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("prepare_hippocampus"))
