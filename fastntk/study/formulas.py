"""The formulas of the page in MathML: every current browser shows it, and nothing has to be loaded."""

MINUS, TIMES, INFINITY = "\N{MINUS SIGN}", "\N{RING OPERATOR}", "\N{INFINITY}"


def _name(text):
    return f"<mi>{text}</mi>"


def _sign(text):
    return f"<mo>{text}</mo>"


def _number(text):
    return f"<mn>{text}</mn>"


def _row(*parts):
    return f"<mrow>{''.join(parts)}</mrow>"


def _sub(base, below):
    return f"<msub>{base}{below}</msub>"


def _fraction(top, bottom):
    return f"<mfrac>{top}{bottom}</mfrac>"


def _in_brackets(*parts):
    return _row(_sign("("), *parts, _sign(")"))


def _sum(below, above=""):
    sigma = "<mo>\N{N-ARY SUMMATION}</mo>"
    return f"<munderover>{sigma}{below}{above}</munderover>" if above else f"<munder>{sigma}{below}</munder>"


def _space(width):
    return f'<mspace width="{width}em"/>'


def _display(*parts):
    return f'<math display="block">{"".join(parts)}</math>'


_TILDE_X = f"<mover>{_name('x')}{_sign('~')}</mover>"
_X_I, _X_J = _sub(_TILDE_X, _name("i")), _sub(_TILDE_X, _name("j"))
_PRODUCT = _in_brackets(_X_I, _sign("\N{MIDDLE DOT}"), _X_J)
_ENTRY = _in_brackets(_name("i"), _sign(","), _name("j"))
_P = _sub(_name("p"), _row(_name("i"), _name("j")))
_K_WIDTH, _K_LIMIT = _sub(_name("K"), _name("m")), _sub(_name("K"), _name(INFINITY))
_MEAN = _fraction(_number("1"), _name("m"))


def _active(x):
    """The indicator of an active neuron."""
    positive = (_sub(_name("w"), _name("r")), _sign("\N{MIDDLE DOT}"), x, _sign("&gt;"), _number("0"))
    return _row(_number("1"), _sign("{"), *positive, _sign("}"))


MASKED = f"<math>{_TILDE_X}{_sign('=')}{_name('x')}{_sign(TIMES)}{_name('c')}</math>"

KERNEL = _display(
    _K_WIDTH,
    _ENTRY,
    _sign("="),
    _PRODUCT,
    _space(0.3),
    _MEAN,
    _sum(_row(_name("r"), _sign("="), _number("1")), _name("m")),
    _active(_X_I),
    _space(0.2),
    _active(_X_J),
)

LIMIT = _display(
    _K_LIMIT,
    _ENTRY,
    _sign("="),
    _PRODUCT,
    _space(0.2),
    _P,
    _sign(","),
    _space(1.2),
    _P,
    _sign("="),
    _fraction(
        _row(
            _name("\N{GREEK SMALL LETTER PI}"),
            _sign(MINUS),
            _name("angle"),
            _in_brackets(_X_I, _sign(","), _X_J),
        ),
        _row(_number("2"), _name("\N{GREEK SMALL LETTER PI}")),
    ),
)

_NORM = _sign("\N{DOUBLE VERTICAL LINE}")
PREDICTION = _display(
    '<mi mathvariant="normal">E</mi>',
    _space(0.2),
    f"<msubsup>{_row(_NORM, _K_WIDTH, _sign(MINUS), _K_LIMIT, _NORM)}{_name('F')}{_number('2')}</msubsup>",
    _sign("="),
    _MEAN,
    _sum(_row(_name("i"), _sign(","), _name("j"))),
    f"<msup>{_PRODUCT}{_number('2')}</msup>",
    _space(0.2),
    _P,
    _in_brackets(_number("1"), _sign(MINUS), _P),
)

_NOISE = _row(_name("\N{GREEK SMALL LETTER TAU}"), _space(0.1), _name("g"))
NOISED = f"<math>{_TILDE_X}{_sign('=')}{_name('x')}{_sign('+')}{_NOISE}</math>"


def _update(x):
    """One step of gradient descent that sees the inputs x."""
    f = _row(_name("f"), _in_brackets(x))
    weights = _sub(_name("w"), _name("r"))
    return _display(
        weights,
        _sign("\N{LEFTWARDS ARROW}"),
        weights,
        _sign(MINUS),
        _name("\N{GREEK SMALL LETTER ETA}"),
        _sum(_name("i")),
        _in_brackets(f, _sign(MINUS), _sub(_name("y"), _name("i"))),
        _space(0.2),
        _sub(_sign("\N{NABLA}"), weights),
        f,
    )


MASKED_UPDATE, CLEAN_UPDATE = _update(_X_I), _update(_sub(_name("x"), _name("i")))
_ERROR = _in_brackets(_name("f"), _in_brackets(_X_I), _sign(MINUS), _sub(_name("y"), _name("i")))
EXPECTED_UPDATE = _display(
    _sub(_name("w"), _name("r")),
    _sign("\N{LEFTWARDS ARROW}"),
    _sub(_name("w"), _name("r")),
    _sign(MINUS),
    _name("\N{GREEK SMALL LETTER ETA}"),
    _sub(_sign("\N{NABLA}"), _sub(_name("w"), _name("r"))),
    '<mi mathvariant="normal">E</mi>',
    _space(0.2),
    _fraction(_number("1"), _number("2")),
    _sum(_name("i")),
    f"<msup>{_ERROR}{_number('2')}</msup>",
)
