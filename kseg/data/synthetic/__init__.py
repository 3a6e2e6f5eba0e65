"""Sets made from a seed, for which no file is needed.

`toy` is D1's noise, `volumes` stands in for the hippocampus (D0), `lungs` for chest X-rays (D3), `tissue` for
histology (D4), and `kandinsky` draws the figures that D4 recommends. The same options give the same rows on any
machine, whatever is read first; `kseg.data.writer.save` writes them to a file.
"""

from kseg.data.synthetic.kandinsky import Kandinsky
from kseg.data.synthetic.lungs import Lungs
from kseg.data.synthetic.tissue import Tissue
from kseg.data.synthetic.toy import Toy
from kseg.data.synthetic.volumes import Volumes

__all__ = ["Kandinsky", "Lungs", "Tissue", "Toy", "Volumes"]
