"""Unpaired source images: a second data set, drawn independently of the examples."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ganforge.contract.errors import DataError
from ganforge.data.store import PackedData


def add_unpaired_sources(data: PackedData, sources: PackedData) -> PackedData:
    """Return data with the examples of another data set as sources, which may be more or fewer; labels are dropped.

    Raises:
        DataError: One of them consists of pairs, or not of images.
    """
    for each in (data, sources):
        if each.sources is not None:
            raise DataError(f"data.sources: {each.name} consists of pairs already", "give single images, or omit it")
        if not each.spec.is_image:
            raise DataError(f"data.sources: {each.name} holds no images", "only images have sources")
    unlabeled, sources = (replace(each, labels=None, class_names=(), number_names=()) for each in (data, sources))
    digest = hashlib.sha256(f"unpaired {data.fingerprint} {sources.fingerprint}".encode()).hexdigest()
    note = "\n".join(filter(None, (data.note, sources.note)))
    return replace(unlabeled, sources=sources, is_paired=False, fingerprint=digest, note=note)
