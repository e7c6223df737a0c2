"""Images from the user's own code: ``module:callable``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.outside import is_outside, load_callable
from ncfm.data.arrays import images_of
from ncfm.data.assembly import Request, Wanted
from ncfm.data.image_set import ImageSet


def read_outside(request: Request) -> ImageSet | None:
    """The source for ``module:callable``, such as ``my_module:my_images`` for ``def my_images`` in ``my_module.py``.

    The callable gets the keywords ``image_size`` and ``channels`` if it accepts them and they are requested. It returns
    an `ImageSet`, or what `images_of` accepts: (images, labels), a torch dataset, or a mapping of splits. The set is
    called as the callable is.

    Raises:
        NcfmError: if there is no such callable, it fails, or it returns something else.
    """
    if not is_outside(request.name):
        return None
    source, wanted = load_callable(request.name, "data source"), request.wanted
    size, channels = wanted.image_size, wanted.channels
    try:
        found = source(**_accepted(source, {"image_size": size, "channels": channels}))
    except NcfmError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise RunError(f"The data source {request.name!r} failed: {type(error).__name__}: {error}") from error
    if isinstance(found, ImageSet):
        _check(found, request.name, request.wanted)
        return replace(found, name=request.name)
    return images_of(found, name=request.name, image_size=size, channels=channels, fit=wanted.fit)


def _accepted(source: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options that a callable accepts; those that are None only if it has no default for them."""
    try:
        parameters = inspect.signature(source).parameters
    except ValueError:  # built-in, without a signature
        return {}
    return {
        key: value
        for key, value in options.items()
        if key in parameters and (value is not None or parameters[key].default is inspect.Parameter.empty)
    }


def _check(images: ImageSet, name: str, wanted: Wanted) -> None:
    """Check that an image set has the requested size and channels."""
    for what, found, asked in (
        ("image_size", images.image_size, wanted.image_size),
        ("channels", images.channels, wanted.channels),
    ):
        if asked not in (None, found):
            raise InputError(
                f"The data source {name!r} returned images with {what} {found}, but {asked} is requested; "
                f"add an argument {what} to it, or choose {what} {found}."
            )
