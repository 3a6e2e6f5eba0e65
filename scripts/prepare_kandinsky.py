"""Write Kandinsky figures, plain shapes on gray, to one HDF5 file.

python scripts/prepare_kandinsky.py kandinsky.h5
python scripts/prepare_kandinsky.py noisy.h5 --label-noise 0.1 --noise 0.05 --size 96
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("prepare_kandinsky"))
