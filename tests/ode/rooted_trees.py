"""Rooted trees and the order conditions that they stand for (Hairer, Norsett, Wanner: Solving ODEs
I, II.2).

A tree is the sorted tuple of its root's subtrees. A method has order p when, for every tree of at
most p nodes, sum_i b_i phi_i(tree) = 1 / gamma(tree).
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import TypeVar

Tree = tuple["Tree", ...]
Number = TypeVar("Number", Fraction, Decimal)


@cache
def trees(nodes: int) -> tuple[Tree, ...]:
    """Every rooted tree of that many nodes: one more leaf on every node of the smaller ones."""
    if nodes == 1:
        return ((),)
    return tuple(sorted({tree for smaller in trees(nodes - 1) for tree in _grown(smaller)}))


def _grown(tree: Tree) -> set[Tree]:
    grown: set[Tree] = {tuple(sorted((*tree, ())))}
    for i, branch in enumerate(tree):
        rest = tree[:i] + tree[i + 1 :]
        grown |= {tuple(sorted((*rest, larger))) for larger in _grown(branch)}
    return grown


@cache
def nodes(tree: Tree) -> int:
    """The tree's order."""
    return 1 + sum(map(nodes, tree))


@cache
def gamma(tree: Tree) -> int:
    """The tree's density: the product of the sizes of all its subtrees."""
    product = nodes(tree)
    for branch in tree:
        product *= gamma(branch)
    return product


def elementary_weights(
    a: Sequence[Sequence[Number]], one: Number
) -> Callable[[Tree], tuple[Number, ...]]:
    """phi: a tree to its weight at every stage, phi_i = prod over branches of sum_j a_ij phi_j."""

    @cache
    def phi(tree: Tree) -> tuple[Number, ...]:
        weights = [one] * len(a)
        for branch in tree:
            inner = phi(branch)
            for i, row in enumerate(a):
                weights[i] *= sum((r * w for r, w in zip(row, inner, strict=False)), one - one)
        return tuple(weights)

    return phi
