"""``{command-help} ntk``: what ``fastntk ntk --help`` prints."""

import os
import subprocess
import sys

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class CommandHelp(SphinxDirective):
    """The help of a command, or of fastntk itself."""

    optional_arguments = 1

    def run(self):
        command = [sys.executable, "-m", "fastntk", *self.arguments, "--help"]
        plain = os.environ | {"COLUMNS": "88", "NO_COLOR": "1"}
        text = subprocess.run(command, capture_output=True, text=True, check=True, env=plain).stdout
        return [nodes.literal_block(text, text, language="none")]


def setup(app):
    """Called by Sphinx."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
