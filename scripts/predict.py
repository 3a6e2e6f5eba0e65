"""Write the masks of images or volumes with a trained model, in the format that they came in.

python scripts/predict.py runs/train-1 scans/ --output masks
python scripts/predict.py runs/train-1 a.nii.gz b.nii.gz --overlays --probabilities
python scripts/predict.py model.keras 'xrays/*.png' --like chest_xray.h5
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("predict"))
