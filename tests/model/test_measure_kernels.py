"""The switch between the compiled kernels that measure and their twins."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.util import module_from_spec, spec_from_file_location, spec_from_loader
from types import ModuleType

import pytest

import lamella.model
from lamella.core.errors import BackendError
from lamella.model import _native, kernels, measure_reference


def fresh_kernels() -> ModuleType:
    spec = spec_from_file_location("kernels_under_test", kernels.__file__)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_compiled_kernels_are_used_where_they_are_installed():
    assert kernels.IS_NATIVE
    assert fresh_kernels().measure is _native.measure


def test_the_twins_stand_in_where_no_kernel_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lamella.model._native", None)
    module = fresh_kernels()
    assert not module.IS_NATIVE
    assert module.measure is measure_reference.measure
    assert module.survey(bytes(8), "f32", 2) == kernels.survey(bytes(8), "f32", 2)


class Broken(MetaPathFinder, Loader):
    """Finds the compiled kernels, and fails to load them."""

    def find_spec(self, fullname, path, target=None):
        return spec_from_loader(fullname, self) if fullname == "lamella.model._native" else None

    def exec_module(self, module):
        raise ImportError("undefined symbol", name="lamella.model._native")


def test_kernels_that_are_installed_and_do_not_load_are_an_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "lamella.model._native")
    monkeypatch.delattr(lamella.model, "_native")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(BackendError, match="undefined symbol") as caught:
        fresh_kernels()
    assert caught.value.kind == "native-broken"
