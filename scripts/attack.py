"""What attacks leave of a model's scores, and whether that can be believed.

python scripts/attack.py runs/train-1 hippocampus.h5
python scripts/attack.py runs/train-1 hippocampus.h5 --images 0 --attacks apgd ensemble --eps 0.005 0.01
python scripts/attack.py runs/train-1 hippocampus.h5 --attacks pgd dag alma_prox square
python scripts/attack.py runs/train-2 "kandinsky(size=32)" --attacks pgd selective layered --no-document
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("attack"))
