"""Values: what goes in and what comes out, in numpy and Pillow; no torch below this door.

classes.py    Class, Classes, VOID: index, file id, name and colour
image.py      Image, read_image, probe_image: pictures recognised by content, turned upright once
mask.py       RawMask, read_mask: truth maps as numbers, never as colours by accident
rows.py       open_rows: a few rows of a huge picture at a time
volume.py     Volume, read_volume, slices_of: NIfTI and DICOM (grid.py, nifti.py, dicom.py, draw_volume.py)
results.py    LabelMap, Instances, Panoptic: the three results, with save, overlay and to_coco
draw.py       overlays, legends, error maps and contact sheets
runs.py       run-length code of masks as COCO writes it
files.py      atomic writing: a file is there whole, or not at all
png.py        IndexPngWriter: an index PNG row by row
sniff.py, decode.py, tiff.py, deep_png.py   how files are recognised and decoded
"""

from segmentarium.values.classes import VOID, Class, Classes, distinct_color
from segmentarium.values.draw import contact_sheet, error_map, legend, overlay, to_rgb8
from segmentarium.values.files import atomic_json, atomic_text, atomic_write, ensure_folder, hash_file
from segmentarium.values.grid import Grid
from segmentarium.values.image import Image, ImageFacts, as_image, probe_image, read_image
from segmentarium.values.mask import RawMask, read_mask
from segmentarium.values.png import IndexPngWriter
from segmentarium.values.results import Instances, LabelMap, Panoptic, Segment
from segmentarium.values.rows import Rows, open_rows
from segmentarium.values.volume import Volume, read, read_volume, slices_of

__all__ = [
    "VOID",
    "Class",
    "Classes",
    "Grid",
    "Image",
    "ImageFacts",
    "IndexPngWriter",
    "Instances",
    "LabelMap",
    "Panoptic",
    "RawMask",
    "Rows",
    "Segment",
    "Volume",
    "as_image",
    "atomic_json",
    "atomic_text",
    "atomic_write",
    "contact_sheet",
    "distinct_color",
    "ensure_folder",
    "error_map",
    "hash_file",
    "legend",
    "open_rows",
    "overlay",
    "probe_image",
    "read",
    "read_image",
    "read_mask",
    "read_volume",
    "slices_of",
    "to_rgb8",
]
