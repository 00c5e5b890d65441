"""The question that betahat was written for: R's standard errors of a linear module."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.closeness import close_to_largest
from torch import nn

import betahat as bh

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


class Question(nn.Module):
    def __init__(self, x, y):
        super().__init__()
        self.X, self.Y = x, y
        self.beta, self.intercept = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(1))

    def forward(self):
        return self.X @ self.beta + self.intercept


# float32 sums differ between machines: the last two of the ten digits that R printed are those of another one.
# torch.randn of seed 42, whose last bits depend on the processor.
QUESTION = Path(__file__).parents[1] / "golden" / "question.csv"
R_VCOV = [0.0079923921, -0.0004940884, 0.0082671053]


@pytest.fixture(scope="module")
def question():
    """Return the module of the question, trained by Adam in float32."""
    data = torch.from_numpy(np.loadtxt(QUESTION, delimiter=",", skiprows=1)).float()
    model = Question(data[:, :1], data[:, 1:])
    criterion, stepper = nn.MSELoss(), torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(1000):
        stepper.zero_grad()
        criterion(model(), model.Y).backward()
        stepper.step()
    return model


@pytest.mark.parametrize("polish", [True, False])
def test_the_question(question, polish):
    """R's lm: 3.035674, 2.011811, vcov 0.0079923921, -0.0004940884, 0.0082671053, t 33.96 and 22.13."""
    res = bh.TorchModel(question, nn.MSELoss(), None, question.Y).fit(polish=polish)
    assert res.names == ("beta", "intercept")
    slope, intercept = res.params.tolist()
    assert (f"{intercept:.5f}", f"{slope:.5f}") == ("3.03567", "2.01181")
    if polish:
        assert (f"{intercept:.6f}", f"{slope:.6f}") == ("3.035674", "2.011811")
    v = res.cov_params()
    found = torch.stack([v[1, 1], v[0, 1], v[0, 0]])
    close_to_largest(found, torch.tensor(R_VCOV).double(), 5e-8 if polish else 1e-4)
    assert [f"{e:.5f}" for e in res.bse.tolist()] == ["0.09092", "0.08940"]
    assert [f"{t:.2f}" for t in res.tvalues.tolist()] == ["22.13", "33.96"]
    text = str(res.summary())
    for words in ("22.126", "33.956", "2.0118", "3.0357", "MSELoss", "Least squares", "nonrobust"):
        assert words in text
    ols = bh.OLS(question.Y[:, 0], bh.add_constant(question.X)).fit()
    close_to_largest(ols.cov_params()[[0, 0, 1], [0, 1, 1]], found, 1e-10 if polish else 1e-4)
    ratio = res.delta(lambda p: p["beta"][0] / p["intercept"])
    assert float(ratio.estimate) == pytest.approx(slope / intercept, rel=1e-12)
