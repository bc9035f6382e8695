"""Hashes that replace the identifiers of patients, studies and files."""

import hashlib
import hmac

import pandas as pd

from tfrecords_tools.tables.csv_cells import path_cell

KEY_LENGTH = 16  # hexadecimal digits; 64 bits keep 10 million slices apart


def keyed_hash(texts: pd.Series, key: bytes) -> pd.Series:
    """HMAC-SHA-256 of each text, the first KEY_LENGTH hexadecimal digits."""
    hashes = {
        text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:KEY_LENGTH]
        for text in texts.unique()
    }
    return texts.map(hashes)


def public_ids(ids: pd.Series, key: bytes | None) -> pd.Series:
    """Slice or study ids as the shards name them: hashed if there is a key.

    UIDs of a hospital lead to the patient for anyone who can search its archive.
    """
    return keyed_hash(ids, key) if key else ids


def path_hash(paths: pd.Series, salt: bytes) -> pd.Series:
    """What the manifest contains instead of the paths of rejected files."""
    return keyed_hash(paths.map(path_cell), salt)


def key_check(salt: bytes) -> str:
    """Tells whether two conversions hash patients alike, without revealing the salt."""
    return hmac.new(salt, b"key check", hashlib.sha256).hexdigest()
