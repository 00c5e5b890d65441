"""What `import betahat` takes, alone and with a first fit of arrays or of a linear module, beside `import torch`, each in a fresh process."""

import os
import subprocess
import sys

import pytest

SCRIPTS = {
    "torch": "import torch",
    "betahat": "import betahat",
    "fit": "import betahat as bh; bh.OLS([2.0, 3.0, 3.4], [[1.0, 0.0], [1.0, 1.0], [1.0, 3.0]]).fit('HC1').bse",
    "module": "import torch, betahat as bh; x = torch.arange(12.0).view(6, 2) % 5; y = x.sum(1, keepdim=True) + x[:, :1] ** 2; "
    "bh.TorchModel(torch.nn.Linear(2, 1), torch.nn.MSELoss(), x, y).fit('HC1').bse",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Compiled files are kept, as those of installed packages are, and there is one thread."""
    kept = {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled")), "OMP_NUM_THREADS": "1"}
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | kept


@pytest.mark.parametrize("what", SCRIPTS)
def test_first(benchmark, environment, what):
    command = [sys.executable, "-c", SCRIPTS[what]]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, env=environment), rounds=5, warmup_rounds=1)
