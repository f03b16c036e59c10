"""What a contributor's own methods return, checked by the annotations of the methods that they override: one check for all."""

import contextlib
import functools
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any

from lorabench.contributed import OwnFault, is_own, own_frames, place_of


def guard(cls: type) -> None:
    """Check from now on what the hooks of a contributor's own class, and of its own bases, return, and how they end.

    A hook is a public method or property of a class of this package that one of those classes overrides. One that returns what
    its annotation there does not allow, or ends by `SystemExit`, raises an `OwnFault` in its place.
    """
    for holder in filter(is_own, cls.__mro__):
        for name, member in list(vars(holder).items()):
            function, overridden = _function(member), None if name.startswith("_") else _contract(cls, name)
            if function is None or overridden is None or hasattr(function, "guarded"):
                continue
            hook = _checked(function, f"{holder.__name__}.{name}", _returns(overridden))
            if isinstance(member, functools.cached_property):
                member.func = hook
            else:
                setattr(holder, name, member.getter(hook) if isinstance(member, property) else hook)


def _contract(cls: type, name: str) -> Callable[..., Any] | None:
    """The method of this package that is the first of its name: what all overriding ones must return."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("lorabench.") and name in vars(base)]
    return _function(vars(bases[-1])[name]) if bases else None


def fault(owner: object, name: str, text: str) -> OwnFault:
    """The error that names a hook of a part, ``Mine.merged() lacks …``, where it is found wrong after it returned.

    Its place is that of the method, or of the class where it inherits the method from this package.
    """
    cls = type(owner)
    holder = next(base for base in cls.__mro__ if name in vars(base))
    function = _function(vars(holder)[name])
    if function is None or (is_own(cls) and not is_own(holder)):
        place = traceback.FrameSummary(inspect.getfile(cls), inspect.getsourcelines(cls)[1], cls.__name__)
    else:
        place = place_of(function)
    return OwnFault(f"{cls.__name__}.{name}() {text}", place)


def misfit(returned: Any, annotation: Any) -> str | None:
    """What about a value is not what its annotation says; None where it is.

    >>> misfit(None, dict[str, int]), misfit([1, "a"], list[int]), misfit((1, None), tuple[float, float | None])
    ('None', 'a list with a str', None)
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    kind = origin or annotation
    if origin in (typing.Union, types.UnionType):
        misfits = [misfit(returned, choice) for choice in arguments]
        return None if None in misfits else misfits[0]
    if annotation in (None, types.NoneType):
        return None if returned is None else _words(returned)
    if annotation is Any or not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return None  # whatever it is, or a callable
    if not _is_a(returned, kind):
        return _words(returned)
    for item, wanted in _items(returned, kind, arguments):
        if odd := misfit(item, wanted):
            return f"{_words(returned)} with {odd}"
    fixed = kind is tuple and arguments and arguments[-1] is not Ellipsis
    return f"a tuple of {len(returned)}" if fixed and len(returned) != len(arguments) else None


def _is_a(returned: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(returned, int | float)
    if kind is int:
        return isinstance(returned, Integral) and not isinstance(returned, bool)
    if kind is not str and isinstance(returned, str):
        return kind is object  # a text is no list of texts
    return isinstance(returned, (list, tuple) if kind is list else kind)


def _items(returned: Any, kind: type, arguments: tuple[Any, ...]) -> Iterable[tuple[Any, Any]]:
    """What is inside a container, each with its annotation; nothing of an iterator, which looking would empty."""
    if not (arguments and issubclass(kind, Iterable) and isinstance(returned, Collection)):
        return []
    if isinstance(returned, Mapping) and issubclass(kind, Mapping) and len(arguments) == 2:
        return [pair for key, item in returned.items() for pair in ((key, arguments[0]), (item, arguments[1]))]
    if kind is tuple and arguments[-1] is not Ellipsis:
        return zip(returned, arguments, strict=False)
    alike = kind is tuple or len(arguments) == 1
    return ((item, arguments[0]) for item in returned) if alike and kind.__module__ in ("builtins", "collections.abc") else []


def _words(returned: Any) -> str:
    if returned is None:
        return "None"
    name = type(returned).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _checked(function: Callable[..., Any], name: str, annotation: Any) -> Callable[..., Any]:
    @functools.wraps(function)
    def hook(*args: Any, **kwargs: Any) -> Any:
        with _no_exit(function):
            returned = function(*args, **kwargs)
        if annotation is not None and (odd := misfit(returned, annotation)):
            raise _misreturn(function, name, odd, annotation)
        lazy = isinstance(returned, Iterator) and typing.get_origin(annotation) in (Iterator, Iterable)
        return _each_checked(returned, function, name, annotation) if lazy else returned

    hook.guarded = True  # type: ignore[attr-defined]
    return hook


def _each_checked(returned: Iterator[Any], function: Callable[..., Any], name: str, annotation: Any) -> Iterator[Any]:
    """The items of an iterator, each checked when it is taken."""
    (wanted,) = typing.get_args(annotation)
    with _no_exit(function):
        for item in returned:
            if odd := misfit(item, wanted):
                raise _misreturn(function, name, f"{_words(returned)} with {odd}", annotation)
            yield item


@contextlib.contextmanager
def _no_exit(function: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except SystemExit as stop:
        text = f"SystemExit: {stop.code}, which would end the whole command; raise another exception"
        raise OwnFault(text, (own_frames(stop) or [place_of(function)])[-1]) from stop


def _misreturn(function: Callable[..., Any], name: str, odd: str, annotation: Any) -> OwnFault:
    text = f"{name}() returned {odd}; it must return {inspect.formatannotation(annotation)}"
    return OwnFault(text, place_of(function))


def _function(member: Any) -> Callable[..., Any] | None:
    """The function behind a method or property; None of any other member."""
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    return member if isinstance(member, types.FunctionType) else None


def _returns(function: Callable[..., Any]) -> Any:
    """What a function says that it returns; Any where it says nothing, or names what only type checkers import."""
    annotation = inspect.get_annotations(function).get("return", Any)
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(vars(sys.modules[function.__module__])))
    except NameError:
        return Any
