"""Looks at a user's data before anything is trained on them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ganforge.data.decode import normalise, open_image, strict_decoding
from ganforge.data.files import FolderImages, ImageFiles
from ganforge.data.items import Reader, Shape
from ganforge.data.pack import Progress, chunks_ahead, usable_workers
from ganforge.data.plan import Plan
from ganforge.data.sources import PackedFolder, open_source
from ganforge.errors import DataError
