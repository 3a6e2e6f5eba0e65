"""Turn a folder of images and one of masks into one HDF5 file, as training takes it.

python scripts/prepare_folder.py images masks cells.h5
python scripts/prepare_folder.py images instance_masks nuclei.h5 --instances --class-names nucleus
python scripts/prepare_folder.py images images polyps.h5 --mask-pattern {name}_mask --size 256 256 --fit aspect
python scripts/prepare_folder.py image label membrane.h5 --class-values 255 0 --class-names membrane
python scripts/prepare_folder.py imagesTr labelsTr spleen.h5 --fit pad --group-regex '^(patient[0-9]+)'
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("prepare_folder"))
