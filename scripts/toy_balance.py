"""The toy study of class balance: five losses and their gradient norms at every iteration, one run or all at once.

python scripts/toy_balance.py --threshold 0.95
python scripts/toy_balance.py --threshold 0.05 --loss cce --no-bn --optimizer sgd --iterations 2000
python scripts/toy_balance.py --sweep published
python scripts/toy_balance.py --sweep full --thresholds 0.05 0.2 0.5 0.8 0.95 --seeds 5 --log-every 5
python scripts/toy_balance.py --resume runs/toy_balance-1
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("toy_balance"))
