"""`lamella cat`."""

from __future__ import annotations

import io
import sys

import click

from lamella.cli import render
from lamella.cli.session import json_option, opened
from lamella.ops.cat import Selected, cat


@click.command()
@click.argument("name", metavar="PATH|REV:PATH")
@click.argument("tensor", metavar="TENSOR[SLICE]")
@click.option("--raw", is_flag=True, help="Write the bytes: row-major, little-endian.")
@click.option("--npy", is_flag=True, help="Write a NumPy file.")
@json_option
def command(name: str, tensor: str, raw: bool, npy: bool, as_json: bool) -> None:
    """Print the values of a tensor, or of a part of it.

    A part is written as in NumPy: `'h.0.w[0:2, :, -1]'`, with integers, slices and `...`. Only what it touches is
    read. A large tensor is summed up by the ends of its axes; --raw and --npy write all of it.
    """
    if raw + npy + as_json > 1:
        raise click.UsageError("--raw, --npy and --json exclude each other")
    with opened(name) as model:
        found = cat(model, tensor)
        if raw:
            _write(found)
        elif npy:
            _write(found, _npy_header(found))
        else:
            _show(found, as_json=as_json)


def _show(found: Selected, *, as_json: bool) -> None:
    from lamella.cli.values_text import listed_values, text_of

    spec = found.spec
    if as_json:
        fields = {"name": spec.name, "dtype": spec.dtype.name, "shape": spec.shape, "values": listed_values(found)}
        render.emit_json("cat", fields)
        return
    text = text_of(found)
    render.line(f"{spec.name}  {spec.dtype.name} {render.shape(spec.shape)}", bold=True)
    click.echo(text)


def _write(found: Selected, header: bytes = b"") -> None:
    output = sys.stdout.buffer
    output.write(header)
    for piece in found.pieces():
        output.write(piece)
    output.flush()


def _npy_header(found: Selected) -> bytes:
    """Return what stands before the values in a NumPy file; a float that NumPy has not becomes plain bytes there."""
    from numpy.lib.format import write_array_header_1_0

    from lamella.core.numpy_dtypes import numpy_dtype

    dtype = numpy_dtype(found.spec.dtype.name)
    header = io.BytesIO()
    fields = {"descr": dtype.str, "fortran_order": False, "shape": found.spec.shape}
    write_array_header_1_0(header, fields)
    return header.getvalue()
