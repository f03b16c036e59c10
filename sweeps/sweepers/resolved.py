"""The configs of a large grid: what cells have in common is composed and resolved once."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.sweepers.composition import Composition, set_value, with_values
from sweeps.sweepers.references import Path, References, is_interpolated, overlap, path_of

Cell = Sequence[str]
Config = dict[str, Any] | DictConfig


class Resolved(Sequence[Config]):
    """The cells' configs as ``Composition.configs`` has them, in plain containers; each is made when it is asked for.

    Cells that choose the same configs of groups stand on one composition. Each of its top-level keys is resolved once for
    each combination of the values that it depends on, by its interpolations, and equal values of a key are one object in all
    cells. A config that cannot be resolved is given as it was composed, so that who resolves it meets the error, and so is one
    that reads the environment, so that who records it sees that.

    Args:
        composition: of configs.
        cells: each cell's overrides, of the same keys in the same order.

    Raises:
        HydraException, OmegaConfBaseException: a cell that cannot be composed, the first one.
    """

    def __init__(self, composition: Composition, cells: Sequence[Cell]) -> None:
        self._cells, self._composition = cells, composition
        columns = [list(dict.fromkeys(column)) for column in zip(*cells, strict=True)]
        overrides = composition.parsed(text for column in columns for text in column)
        firsts = [overrides[column[0]] for column in columns]
        rest = _texts([i for i, override in enumerate(firsts) if not composition.sets_value(override)])
        of_cells = [i for i, override in enumerate(firsts) if not override.key_or_group.startswith("hydra.")]
        values = [i for i in of_cells if composition.sets_value(firsts[i])]
        self._overrides = overrides
        self._places = {i: path_of(firsts[i].key_or_group) for i in values}
        self._apart = {i for i in values if any(_is_complex(overrides[text].value()) for text in columns[i])} | {
            i for i in values for j in values if i != j and overlap(self._places[i], self._places[j])
        }
        self._shared: dict[tuple[str, str], Any] = {}
        families: dict[Cell, _Family] = {}
        self._prototypes: list[_Prototype] = []
        for cell in cells:
            key = rest(cell)
            if key not in families:
                families[key] = self._family(composition.whole(key))
            prototype = families[key].prototype(cell)
            prototype.try_values(cell)
            self._prototypes.append(prototype)

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return self._config(self._prototypes[number], self._cells[number])

    def __iter__(self) -> Iterator[Config]:
        return map(self._config, self._prototypes, self._cells)

    def _config(self, prototype: "_Prototype", cell: Cell) -> Config:
        if not prototype.reads_environment:
            with contextlib.suppress(OmegaConfBaseException):
                return prototype.resolved(cell)
        return self._composition.configs([cell])[0]

    def _family(self, whole: DictConfig) -> "_Family":
        apart = _set_apart(OmegaConf.to_container(whole, resolve=False), self._places, self._apart)  # type: ignore[arg-type]
        return _Family(whole, self._overrides, self._places, apart, self._shared)


class _Family:
    """Cells that choose the same configs of groups; values that are ``apart`` are set on a copy for each combination."""

    def __init__(
        self,
        whole: DictConfig,
        overrides: Mapping[str, Override],
        places: Mapping[int, Path],
        apart: set[int],
        shared: dict[tuple[str, str], Any],
    ) -> None:
        self._whole, self._overrides, self._shared = whole, overrides, shared
        self._places = {i: place for i, place in places.items() if i not in apart}
        self._apart = _texts(sorted(apart))
        self._prototypes: dict[Cell, _Prototype] = {}

    def prototype(self, cell: Cell) -> "_Prototype":
        """That of a cell."""
        key = self._apart(cell)
        if key not in self._prototypes:
            config = with_values(self._whole, [self._overrides[text] for text in key])
            self._prototypes[key] = _Prototype(config, self._overrides, self._places, self._shared)
        return self._prototypes[key]


class _Prototype:
    """A config in which plain values are replaced in place; one that a key depends on is set before it is resolved."""

    def __init__(
        self,
        config: DictConfig,
        overrides: Mapping[str, Override],
        places: Mapping[int, Path],
        shared: dict[tuple[str, str], Any],
    ) -> None:
        self._config, self._overrides, self._positions, self._shared = config, overrides, list(places), shared
        self._tried: set[str] = set()
        self._keys: dict[str, Any] = dict.fromkeys(map(str, config))
        references = References(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]
        self.reads_environment = references.call("oc.env", "oc.decode")
        keys: dict[tuple[int, ...], list[str]] = {}
        for key in self._keys:
            reached = references.reach(key, list(places.values()))
            keys.setdefault(tuple(i for i, place in places.items() if place in reached), []).append(key)
        self._blocks: list[tuple[list[str], Callable[[Cell], Cell], dict[Cell, dict[str, Any]]]] = [
            (of_block, _texts(positions), {}) for positions, of_block in keys.items()
        ]

    def try_values(self, cell: Cell) -> None:
        """Set each value of a cell, that no cell before had: the schema may not allow it."""
        for i in self._positions:
            if cell[i] not in self._tried:
                set_value(self._config, self._overrides[cell[i]])
                self._tried.add(cell[i])

    def resolved(self, cell: Cell) -> dict[str, Any]:
        """The config of a cell."""
        config = dict(self._keys)  # in their order
        for keys, texts, table in self._blocks:
            given = texts(cell)
            if given not in table:
                table[given] = self._resolve(keys, given)
            config.update(table[given])
        return config

    def _resolve(self, keys: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
        for text in texts:
            set_value(self._config, self._overrides[text])
        values = {key: _plain(self._config[key]) for key in keys}
        return {key: self._shared.setdefault((key, repr(value)), value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _is_complex(value: Any) -> bool:
    """Whether setting a value changes more than a leaf, or makes it depend on others."""
    return isinstance(value, dict | list) or is_interpolated(value)


def _set_apart(tree: Mapping[str, Any], places: Mapping[int, Path], apart: set[int]) -> set[int]:
    """The positions in a cell of values that cannot be replaced in place: those ``apart`` anyway, and what replaces no leaf.

    Args:
        tree: the config in plain containers, its interpolations as texts.
        places: of the values in the config, by their positions.
        apart: see above.
    """
    apart = set(apart)
    for i, place in places.items():
        node: Any = tree
        for name in place:  # what lies in no mapping is made there, or behind an interpolation that it replaces
            node = node.get(name, {}) if isinstance(node, Mapping) else {}
        if isinstance(node, Mapping | list):
            apart.add(i)
    return apart


def _texts(positions: Sequence[int]) -> Callable[[Cell], Cell]:
    """A function from a cell to its overrides at these positions."""
    if not positions:
        return lambda cell: ()
    if len(positions) == 1:
        return lambda cell: (cell[positions[0]],)
    return itemgetter(*positions)
