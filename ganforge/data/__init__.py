"""Data: folders, zips, arrays and data sets, packed into one tensor."""

from ganforge.core.cache import cache_folder
from ganforge.data.pack import open_data, pack_data
from ganforge.data.store import PackedData

__all__ = ["PackedData", "cache_folder", "open_data", "pack_data"]
