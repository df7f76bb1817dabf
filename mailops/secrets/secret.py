"""A value that masks itself wherever it could be printed, formatted, shown in a notebook, or pickled."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, NoReturn

MASK = "•••"


class Secret:
    """A secret text. Only :meth:`reveal` gives it away; everything else shows ``•••``.

    Comparison takes constant time. Pickling is refused, so a secret cannot slip into a queue, a cache or a job's
    arguments; copying gives the same object. ``json.dumps`` refuses it by itself.
    """

    __slots__ = ("__value",)
    __value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a Secret holds text")
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> str:
        """The value itself. Call it at the last moment and keep the result in no attribute."""
        return self.__value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def _repr_html_(self) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash((Secret, hashlib.sha256(self.__value.encode()).digest()))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; hand over its reference and reveal it there")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to hand out")
