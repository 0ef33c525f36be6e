"""The public names: sorted, lazy, and the same for type checkers and at run time."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import jepawm


def test_public_names_resolve():
    assert len(set(jepawm.__all__)) == len(jepawm.__all__)  # their order is checked by ruff
    for name in jepawm.__all__:
        assert getattr(jepawm, name) is getattr(import_module(jepawm._HOMES[name]), name)
    assert set(jepawm.__all__) <= set(dir(jepawm))
    with pytest.raises(AttributeError, match="Nothing"):
        jepawm.Nothing  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(jepawm.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == jepawm._HOMES
    assert sorted(seen) == sorted(jepawm.__all__)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, jepawm; assert 'torch' not in sys.modules; jepawm.UserError"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loading_a_checkpoint_leaves_out_what_only_sharded_training_needs():
    """The class of sharded tensors takes half a second to import."""
    code = (
        "import sys, jepawm; jepawm.load('wall'); "
        "assert 'torch.distributed.tensor' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
