"""One run of the toy study of class balance: five losses and their gradient norms, every iteration.

python scripts/toy_balance.py --threshold 0.95
python scripts/toy_balance.py --threshold 0.05 --loss cce --no-bn --optimizer sgd --iterations 2000
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("toy_balance"))
