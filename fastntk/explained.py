"""Where the documentation explains an error: the sections that messages end with."""


def _section(title, page):
    return f'See "{title}" in docs/{page}.'


CHECKPOINTS = _section("Checkpoints", "scaling.md")
CLOSED_FORMS = _section("8. Closed forms under Gaussian masks", "mathematics.md")
EXTRAS = _section("Extras", "install.md")
KERNELS_UNDER_MASKS = _section("2. Empirical neural tangent kernel", "mathematics.md")
MEMORY = _section("Memory", "scaling.md")
