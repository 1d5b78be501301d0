"""From a user's images to one packed tensor."""

from ganforge.core.cache import cache_folder
from ganforge.data.pack import open_data, pack_data
from ganforge.data.store import PackedData

__all__ = ["PackedData", "cache_folder", "open_data", "pack_data"]
