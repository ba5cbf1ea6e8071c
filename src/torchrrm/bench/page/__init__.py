"""The report page: one HTML file with figures that switch between allocators and cases, and a table that sorts.

`data` makes plain JSON data of results and scenes, `writing` puts it into the template beside the scripts, the styles
and plotly, all of them in the file: the page loads nothing, and works from a disk.
"""

from torchrrm.bench.page.writing import Plate, html_report

__all__ = ["Plate", "html_report"]
