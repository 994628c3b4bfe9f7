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

# ------------------------------------------------------------------------- what masks do on average

_E = '<mi mathvariant="normal">E</mi>'
_HALF = _fraction(_number("1"), _number("2"))
_PHI, _SMALL_PHI = _name("\N{GREEK CAPITAL LETTER PHI}"), _name("\N{GREEK SMALL LETTER PHI}")
_ETA, _LAMBDA = _name("\N{GREEK SMALL LETTER ETA}"), _name("\N{GREEK SMALL LETTER LAMDA}")
_Z, _S, _A, _I = (_name(letter) for letter in "zsai")
_T = _in_brackets(_Z, _sign("/"), _S)


def _squared(*parts):
    return f"<msup>{_row(*parts)}{_number('2')}</msup>"


def _power(base, exponent):
    return f"<msup>{_row(base)}{_row(exponent)}</msup>"


_PREACTIVATION = _row(_name("w"), _sign("\N{MIDDLE DOT}"), _TILDE_X)
SMOOTHED_RELU = _display(
    _E,
    _space(0.2),
    _name("relu"),
    _in_brackets(_PREACTIVATION),
    _sign("="),
    _Z,
    _PHI,
    _T,
    _sign("+"),
    _S,
    _SMALL_PHI,
    _T,
    _sign(","),
    _space(1.2),
    _name("P"),
    _in_brackets(_PREACTIVATION, _sign("&gt;"), _number("0")),
    _sign("="),
    _PHI,
    _T,
)

_OUTPUT = _row(_name("f"), _in_brackets(_X_I))
_MEAN_ERROR = _in_brackets(_E, _space(0.1), _OUTPUT, _sign(MINUS), _sub(_name("y"), _I))
EXPECTED_LOSS = _display(
    _E,
    _space(0.2),
    _HALF,
    _sum(_I),
    _squared(_ERROR),
    _sign("="),
    _HALF,
    _sum(_I),
    _squared(_MEAN_ERROR),
    _sign("+"),
    _HALF,
    _sum(_I),
    _name("Var"),
    _space(0.2),
    _OUTPUT,
)

# ------------------------------------------------------------------------------ training as a line

_RATE = _row(_ETA, _sub(_LAMBDA, _A))
_LEFT = _in_brackets(_number("1"), _sign(MINUS), _RATE)
_KEPT = _fraction(_RATE, _row(_number("2"), _sign(MINUS), _RATE))
_RESIDUAL, _SHIFT, _VARIANCE = (_sub(_name(letter), _A) for letter in ("r", "b", "V"))
TRANSIENT = _display(
    _E,
    _space(0.2),
    _name("L"),
    _in_brackets(_name("t")),
    _sign("\N{ALMOST EQUAL TO}"),
    _HALF,
    _sum(_A),
    _squared(
        _in_brackets(
            _power(_LEFT, _name("t")), _in_brackets(_RESIDUAL, _sign("+"), _SHIFT), _sign(MINUS), _SHIFT
        )
    ),
    _sign("+"),
    _HALF,
    _sum(_A),
    _KEPT,
    _in_brackets(_number("1"), _sign(MINUS), _power(_LEFT, _row(_number("2"), _name("t")))),
    _VARIANCE,
)

_MEAN_WEIGHTS = "<mover>" + _name("W") + _sign("\N{MACRON}") + "</mover>"
FLOOR = _display(
    _E,
    _space(0.2),
    _name("L"),
    _sign("\N{ALMOST EQUAL TO}"),
    _name("L"),
    _in_brackets(_MEAN_WEIGHTS),
    _sign("+"),
    _HALF,
    _sum(_A),
    _KEPT,
    _sum(_I),
    f"<msubsup>{_name('u')}{_row(_I, _A)}{_number('2')}</msubsup>",
    _sub(_name("V"), _I),
)

_K, _UNIT = _name("K"), _name("I")
_DATA = _name("X")
REGIME = _display(
    _sub(_name("f"), _name("t")),
    _in_brackets(_name("x")),
    _sign("="),
    _sub(_name("f"), _number("0")),
    _in_brackets(_name("x")),
    _sign(MINUS),
    _K,
    _in_brackets(_name("x"), _sign(","), _DATA),
    _space(0.2),
    _power(_K, _row(_sign(MINUS), _number("1"))),
    _in_brackets(
        _UNIT,
        _sign(MINUS),
        _power(_in_brackets(_UNIT, _sign(MINUS), _ETA, _K), _name("t")),
    ),
    _in_brackets(_sub(_name("f"), _number("0")), _in_brackets(_DATA), _sign(MINUS), _name("y")),
    _sign(","),
    _space(1),
    _K,
    _sign("="),
    _K,
    _in_brackets(_DATA, _sign(","), _DATA),
)
