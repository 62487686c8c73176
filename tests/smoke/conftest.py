"""A place for an nginx of a test's own."""

import os
import shutil
import tempfile

import pytest


@pytest.fixture
def home():
    """A directory that nginx's workers may enter; pytest's own may not be."""
    path = tempfile.mkdtemp(prefix="nxs-nginx-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)
