"""Real data that several tests of training learn from."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from train.samples import Data


@pytest.fixture(scope="module")
def iris() -> Data:
    X, y = load_iris(return_X_y=True)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y.astype(np.int64)
