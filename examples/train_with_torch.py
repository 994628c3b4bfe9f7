"""A PyTorch training script for a wide network under masks, with fastntk's kernels behind it.

    python examples/train_with_torch.py [width]

Needs PyTorch: python -m pip install "fastntk[torch]". Masks are fresh at every step; the
test loss is without.
"""

import sys

import torch

import fastntk as fn
from fastntk.torch import MaskedNetwork


def main(width=2000):
    torch.manual_seed(0)
    X = torch.nn.functional.normalize(torch.randn(400, 20))
    y = torch.relu(X @ torch.randn(20))  # what one neuron answers
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X[:300], y[:300]), batch_size=100, shuffle=True
    )
    net = MaskedNetwork(width, 20, mask=fn.GaussianMask(0.3), seed=0)
    optimizer = torch.optim.Adam([net.weight], lr=0.02)
    loss_of = torch.nn.MSELoss()
    print("epoch  masked training loss  test loss")
    for epoch in range(21):
        net.train()
        for rows, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(net(rows), targets)
            loss.backward()
            optimizer.step()
        if epoch % 5 == 0:
            net.eval()
            with torch.no_grad():
                print(f"{epoch:5d} {loss.item():21.4f} {loss_of(net(X[300:]), y[300:]).item():10.4f}")
    K = fn.ntk(X[:100], network=net.network())
    print(f"kernel of the trained network: largest eigenvalue {torch.linalg.eigvalsh(K)[-1].item():.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
