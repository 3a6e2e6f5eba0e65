"""Turn chest X-rays with lung masks, the NLM's sets of Montgomery and Shenzhen, into one HDF5 file of images.

python scripts/prepare_chest_xray.py chest_xray chest_xray.h5
python scripts/prepare_chest_xray.py chest_xray chest_xray.h5 --size 128 --keep-aspect
python scripts/prepare_chest_xray.py chest_xray/MontgomerySet sides.h5 --classes three
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("prepare_chest_xray"))
