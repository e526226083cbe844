"""Diagonally implicit methods: the stages are solved one by one, with the same matrix.

SDIRK2 and the pair's family: R. Alexander 1977; C. A. Kennedy, M. H. Carpenter: Diagonally implicit
Runge-Kutta methods for ordinary differential equations, a review, NASA/TM-2016-219173. TR-BDF2:
M. E. Hosea, L. F. Shampine: Analysis and implementation of TR-BDF2, Appl. Numer. Math. 20, 1996.
"""

from fractions import Fraction

from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.tableau import ImplicitTableau, exact, square_root

_ROOT = square_root(2)
_GAMMA = 1 - _ROOT / 2

SDIRK2 = ImplicitRungeKutta(
    ImplicitTableau.from_numbers(
        "sdirk2",
        order=2,
        a=[[_GAMMA, 0], [1 - _GAMMA, _GAMMA]],
        b=[1 - _GAMMA, _GAMMA],
        c=[_GAMMA, 1],
        # the quadratic polynomial of order 2 that the two slopes define
        dense=[
            [1 / (1 - _GAMMA), -1 / (1 - _GAMMA) / 2],
            [-_GAMMA / (1 - _GAMMA), 1 / (1 - _GAMMA) / 2],
        ],
        dense_order=2,
    )
)

TRBDF2 = ImplicitRungeKutta(
    ImplicitTableau.from_numbers(
        "trbdf2",
        order=2,
        a=[[0, 0, 0], [_GAMMA, _GAMMA, 0], [_ROOT / 4, _ROOT / 4, _GAMMA]],
        b=[_ROOT / 4, _ROOT / 4, _GAMMA],
        c=[0, 2 * _GAMMA, 1],
        # cubic Hermite interpolation: y and its slope at both ends
        dense=[
            [1, 3 * _ROOT / 4 - 2, 1 - _ROOT / 2],
            [0, 3 * _ROOT / 4, -_ROOT / 2],
            [0, 3 * _GAMMA - 1, 1 - 2 * _GAMMA],
        ],
        dense_order=2,
    )
)

_DIAGONAL = Fraction(23, 125)
_C = tuple(
    map(
        exact,
        (
            "0",
            "46/125",
            "7121331996143/11335814405378",
            "49/353",
            "3706679970760/5295570149437",
            "347/382",
            "1",
        ),
    )
)
_BELOW = (
    ("791020047304/3561426431547",),
    ("-158159076358/11257294102345", "-85517644447/5003708988389"),
    (
        "-1653327111580/4048416487981",
        "1514767744496/9099671765375",
        "14283835447591/12247432691556",
    ),
    (
        "-4540011970825/8418487046959",
        "-1790937573418/7393406387169",
        "10819093665085/7266595846747",
        "4109463131231/7386972500302",
    ),
)
_B = (
    "-188593204321/4778616380481",
    "2809310203510/10304234040467",
    "1021729336898/2364210264653",
    "870612361811/2470410392208",
    "-1307970675534/8059683598661",
    "23/125",
)
_B_HAT = (
    "-582099335757/7214068459310",
    "615023338567/3362626566945",
    "3192122436311/6174152374399",
    "6156034052041/14430468657929",
    "-1011318518279/9693750372484",
    "1914490192573/13754262428401",
)
_SQUARE = (
    "-3.2622040345986443503067474575286",
    "3.2315027496241843233611910010625",
    "-0.22108260155126133369350378547254",
    "1.5794982945781163911228108799922",
    "-1.8912587077771869279334103940916",
    "0.10147532237513127412191856746002",
    "0.46206897734966062332774118857803",
)


def _with_first(total: Fraction, *others: Fraction | str) -> list[Fraction]:
    """The remainder of the total, followed by the given ones."""
    rest = [exact(x) for x in others]
    return [total - sum(rest, Fraction(0)), *rest]


def _esdirk54() -> ImplicitTableau:
    one, zero = Fraction(1), Fraction(0)
    b = _with_first(one, *_B)
    inner = [_with_first(c, *row, _DIAGONAL) for c, row in zip(_C[2:6], _BELOW, strict=True)]
    rows = [[zero], [_C[1] - _DIAGONAL, _DIAGONAL], *inner]
    first, last = [one, *[zero] * 6], [*[zero] * 6, one]
    dense = []
    for start, end, weight, square in zip(first, last, b, map(exact, _SQUARE), strict=True):
        fourth = end + 2 * start - 3 * weight + square
        dense.append([start, square, weight - start - square - fourth, fourth])
    return ImplicitTableau.from_numbers(
        "esdirk54",
        order=5,
        a=[*[[*row, *[zero] * (7 - len(row))] for row in rows], [*b]],
        b=[*b],
        c=[*_C],
        dense=dense,
        dense_order=4,
        b_hat=[*_with_first(one, *_B_HAT)],
        embedded_order=4,
    )


ESDIRK54 = ImplicitRungeKutta(_esdirk54())
"""ESDIRK5(4)7L[2]SA2 of Kennedy and Carpenter (Appl. Numer. Math. 146, 2019): L-stable, stiffly
accurate, stage order 2, all nodes within the step.

Its dense output of order 4 was not published with it. Four polynomials of degree 4 meet the order
conditions and end in y1 with the slopes of both ends: the coefficients of x^2 satisfy five
conditions (those of the trees up to order 4, as the stage order is 2) with the least sum of
squares; those of x^3 and x^4 follow from them.
"""
