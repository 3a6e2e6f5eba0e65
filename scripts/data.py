"""Tell what a prepared file or a built-in set holds, and draw some of its images with their masks.

python scripts/data.py hippocampus.h5
python scripts/data.py hippocampus.h5 --verify --sheet hippocampus.png
python scripts/data.py "kandinsky(classes='colour')" --sheet figures.png --count 4
"""

import sys

from kseg.cli import main

if __name__ == "__main__":
    sys.exit(main("data"))
