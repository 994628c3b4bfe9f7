"""Clients with rows of their own, seen through channels of their own, and their training."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ...forward import activation_pattern
from ...masking import Mask
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..scores import clean_score

DRAWS = 2  # of the channels, for a score through them


class Clients(NamedTuple):
    """Who has which rows, and how well features arrive there; C clients.

    ``owners`` (n + h,): the client of the row of each id, held-out ones too.  ``received`` (C, d) bool.
    ``quality`` (C, d): the deviation of the channel over the largest one.
    """

    owners: np.ndarray
    received: np.ndarray
    quality: np.ndarray


class View(NamedTuple):
    """Rows as whoever trains on them has them."""

    X: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    mask: Mask | None


class Channels(Mask):
    """Every row under its own client's mask, by the row's id."""

    def __init__(self, masks, owners):
        self.masks, self.owners = masks, owners

    def _apply(self, X, ids, seed, stream, draw):
        masked = np.empty_like(X)
        for client, mask in enumerate(self.masks):
            mine = self.owners[ids] == client
            if mine.any():
                masked[mine] = mask.sample(X[mine], seed=seed, draw=draw, row_ids=ids[mine], stream=stream)
        return masked

    def _spread(self, X):
        raise NotImplementedError(
            "the moments of a row depend on whose it is, and rows come here without ids"
        )


class Federation:
    """The clients at one fading strength: what they see, one by one and together."""

    def __init__(self, task, clients, kappas, seed):
        self.task = task
        masks = [GaussianMask(kappa) for kappa in kappas]
        channels = Channels(masks, clients.owners)
        owners, held_out_owners = clients.owners[task.ids], clients.owners[task.held_out_ids]
        self.whole = View(task.X * clients.received[owners], task.y, task.ids, channels)
        self.members = []
        for client, mask in enumerate(masks):
            mine = owners == client
            self.members.append(View(self.whole.X[mine], task.y[mine], task.ids[mine], mask))
        arriving, ids = task.held_out_X * clients.received[held_out_owners], task.held_out_ids
        draws = [channels.sample(arriving, seed=seed, draw=draw, row_ids=ids) for draw in range(DRAWS)]
        self.arriving_X, self.arriving_y = np.concatenate(draws), np.tile(task.held_out_y, DRAWS)
        self.arriving_owners = np.tile(held_out_owners, DRAWS)

    def scores(self, networks, threads):
        """Score on held-out rows, the same through the channels, and loss on the rows to train on.

        Of one network for all clients; or means over networks of one client each, who then sees the rows
        that come through its own channel.
        """
        task, alone = self.task, len(networks) > 1
        each = []
        for client, network in enumerate(networks):
            mine = self.arriving_owners == client if alone else slice(None)
            measure = partial(clean_score, task, network, threads=threads)
            _, clean = measure(task.held_out_X, task.held_out_y)
            _, through_channels = measure(self.arriving_X[mine], self.arriving_y[mine])
            loss, _ = measure(task.X, task.y)
            each.append((clean, through_channels, loss))
        return np.mean(each, axis=0)


def deal(task, count, missing, seed):
    """Deal rows, features and channels to clients at random."""
    rng = np.random.default_rng([seed, count])
    owners = [rng.permutation(np.arange(len(rows)) % count) for rows in (task.X, task.held_out_X)]
    dim = task.X.shape[1]
    received = np.ones((count, dim), bool)
    received[:, : int(missing * dim)] = False
    return Clients(np.concatenate(owners), rng.permuted(received, axis=1), rng.uniform(size=(count, dim)))


class Training(NamedTuple):
    """How everybody trains; ``step_size`` is for the mean loss over the rows."""

    network: Network
    step_size: float
    steps: int
    options: dict

    def rounds(self, views, every, *, average=False):
        """Yield (steps done, networks) every so many steps: each view's own one, or [their average]."""
        runs: list = [None] * len(views)
        networks = [self.network] * len(views)
        for done in range(every, self.steps + 1, every):
            runs = [self._go_on(*of_one, done) for of_one in zip(views, runs, networks, strict=True)]
            networks = [run.network for run in runs]
            if average:
                server = average_of(networks, [len(view.X) for view in views])
                networks = [server] * len(views)
            yield done, [server] if average else networks

    def _go_on(self, view, run, start, steps):
        """Train from the weights of ``start``, where ``run`` stopped, until so many steps in all."""
        return train(
            view.X,
            view.y,
            network=self.network,
            mask=view.mask,
            row_ids=view.ids,
            step_size=self.step_size / len(view.X),
            steps=steps,
            record_every=self.steps,
            # A run that goes on counts its steps on, and so meets masks that are new.
            resume=None if run is None else replace(run, network=start),
            **self.options,
        )


def average_of(networks, rows):
    """The network of mean weights, where networks count by their rows."""
    weights = np.average([network.weights() for network in networks], axis=0, weights=rows)
    return Network.from_arrays(weights, networks[0].output_weights())


def stable_step_size(view, network, options):
    """What ``train`` advises, on the mean loss over the rows."""
    run = train(view.X, view.y, network=network, mask=view.mask, row_ids=view.ids, steps=1, **options)
    return run.step_size * len(view.X)


def by_feature(network, initial, X, threads):
    """(2, d): how far the weights of each feature have moved, and the root mean square of df/dx_k over X."""
    W, a = (values.astype(np.float32) for values in (network.weights(), network.output_weights()))
    active = activation_pattern(X, network=network, threads=threads).to_bool()
    squares = sum(np.square((active * of_one) @ W) for of_one in a.reshape(len(W), -1).T) / len(W)
    return np.linalg.norm(W - initial.weights(), axis=0), np.sqrt(squares.mean(axis=0))
