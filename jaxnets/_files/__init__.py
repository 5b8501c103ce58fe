"""Numbers in files, as pandas, Excel, R, MATLAB, SciPy and graph tools write them; what was read is always said.

`text` splits any table of text into cells, `containers` opens binary files, and `tables` tells labels from numbers.
What the numbers are (weights, edges, a recording) is for the rooms that call.
"""

from .containers import Found, open_container
from .tables import Table, as_label, place, table_of_text

__all__ = ["Found", "Table", "as_label", "open_container", "place", "table_of_text"]
