"""Pictures of the run folder, carried inside the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image as Pil

_WIDEST = 1600


def inlined(path: Path) -> str:
    """A picture as a JPEG in a data address, without the legend that strips of predictions have below.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    with Pil.open(path) as opened:
        picture = opened.convert("RGB")
        rows = int(opened.info.get("panel_rows", picture.height))
    picture = picture.crop((0, 0, picture.width, rows))
    picture.thumbnail((_WIDEST, _WIDEST))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=86, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
