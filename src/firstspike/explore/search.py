"""Which designs are tried: Optuna draws them a generation at a time, a storage keeps them, a search goes on where it stopped.

A trial is drawn from the seed, its number and the results of whole generations before it, so neither the order in which
workers finish nor an interruption changes a search.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstspike.explore import journal
from firstspike.explore.evaluate import Result
from firstspike.explore.executor import Workers
from firstspike.explore.space import OBJECTIVES, Design, Space, require

RESULT = "result"
"""Attribute of a trial that holds its metrics, or why it was refused."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluated design.

    Attributes:
        trial: number of the first trial that drew it.
        design, result: the point and its metrics.
        front: no other design is at least as good in every objective and better in one.
    """

    trial: int
    design: Design
    result: Result
    front: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search has found.

    Attributes:
        points: distinct designs, by trial.
        trials: all that were drawn and told.
        refused: rule that a design breaks, by trial.
        evaluated: designs evaluated now, not in an earlier run.
    """

    points: tuple[Point, ...]
    trials: int
    refused: dict[int, str]
    evaluated: int


def search(
    space: Space,
    executor: Workers,
    *,
    storage: Path,
    digest: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """Search a space to its number of trials; ones that the storage holds are not evaluated again.

    Args:
        space: the designs.
        executor: what evaluates them.
        storage: Optuna's journal file, made where it is missing; see `firstspike.explore.journal`.
        digest: hash of all that decides a result besides the space.
        progress: called with the trials told and to tell.

    Raises:
        OSError: the storage cannot be written, or another process works with it.
        ValueError: the storage is no journal or belongs to another space, or every design was refused.
    """
    optuna = require("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with journal.opened(storage) as kept:
        study = _study(optuna, space, kept, storage)
        _check_owner(study, _identity(space, digest), storage)
        evaluated = _run(optuna, study, space, executor, progress)
        return _found(optuna, study, space, evaluated)


def _study(optuna: Any, space: Space, kept: Any, storage: Path) -> Any:
    try:
        return optuna.create_study(
            study_name="explore",
            storage=kept,
            directions=[OBJECTIVES[name] for name in space.objectives],
            load_if_exists=True,
        )
    except (KeyError, TypeError, AttributeError, AssertionError) as error:  # lines of JSON that Optuna never wrote
        raise ValueError(
            f"storage {storage}: it must be a journal of Optuna; name another file with --storage"
        ) from error


def _run(optuna: Any, study: Any, space: Space, executor: Workers, progress: Callable[[int, int], None]) -> int:
    """Evaluate what is not known yet, generation by generation; returns how many designs that were."""
    finished, total = optuna.trial.TrialState, _total(space)
    known: dict[str, Result] = {}
    told = 0
    for trial in study.get_trials(deepcopy=False):
        if trial.state in (finished.COMPLETE, finished.FAIL):
            known[_key(trial.params)] = trial.user_attrs[RESULT]
            told += 1
    evaluated = 0
    while told < total:
        batch = _draw(optuna, study, space, total)
        progress(told, total)
        fresh: dict[str, int] = {}
        for number, design in batch.items():
            if _key(design) not in known:
                fresh.setdefault(_key(design), number)
        for number, result in executor.run({number: batch[number] for number in fresh.values()}):
            known[_key(batch[number])] = result
            evaluated += 1
            progress(told + sum(_key(design) in known for design in batch.values()), total)
        for number, design in batch.items():  # in order of number, whoever came first
            _tell(optuna, study, space, number, known[_key(design)])
        told += len(batch)
        progress(told, total)
    return evaluated


def _total(space: Space) -> int:
    size = space.size
    return size if space.search.method == "grid" and size is not None else space.search.trials


def _draw(optuna: Any, study: Any, space: Space, total: int) -> dict[int, Design]:
    """The trials of the generation that is under way, by number; those drawn before an interruption among them.

    A generation is drawn, again after an interruption, in a copy of the study as it was before: the sampler keeps what
    depends on the order of its calls. A design is then written as one line, so that a journal never holds a part of it.
    """
    trials = study.get_trials(deepcopy=False)
    states = optuna.trial.TrialState
    first = next((t.number for t in trials if not t.state.is_finished()), len(trials))
    size = space.search.population
    begin = first // size * size
    end = min(total, begin + size)
    grid = space.grid() if space.search.method == "grid" else []
    distributions = {p.key: _distribution(optuna, p) for p in space.parameters}
    memory = optuna.create_study(directions=study.directions)
    memory.add_trials(trials[:begin])
    batch: dict[int, Design] = {}
    for number in range(begin, end):
        design: Design = {}
        attributes: dict[str, Any] = {}
        if grid:
            design = grid[number]
        else:
            memory.sampler = _sampler(optuna, space, number)
            memory.ask(fixed_distributions=distributions)
            drawn = memory.get_trials(deepcopy=False)[number]
            design, attributes = drawn.params, drawn.system_attrs
        if number < len(trials):
            if not trials[number].state.is_finished():
                batch[number] = dict(trials[number].params)
            continue
        study.add_trial(
            optuna.trial.create_trial(
                state=states.RUNNING, params=dict(design), distributions=distributions, system_attrs=attributes
            )
        )
        batch[number] = dict(design)
    return batch


def _sampler(optuna: Any, space: Space, number: int) -> Any:
    seed = (space.search.seed * 1_000_003 + number) % (1 << 32)
    if space.search.method == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=space.search.population, seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _distribution(optuna: Any, parameter: Any) -> Any:
    if parameter.values:
        return optuna.distributions.CategoricalDistribution(parameter.values)
    return optuna.distributions.FloatDistribution(parameter.low, parameter.high)


def _tell(optuna: Any, study: Any, space: Space, number: int, result: Result) -> None:
    trial = study.get_trials(deepcopy=False)[number]
    study._storage.set_trial_user_attr(trial._trial_id, RESULT, result)
    if "refused" in result:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(number, [float(result[name]) for name in space.objectives])


def _found(optuna: Any, study: Any, space: Space, evaluated: int) -> Found:
    trials = study.get_trials(deepcopy=False)
    first: dict[str, Any] = {}
    refused: dict[int, str] = {}
    for trial in trials:
        result = trial.user_attrs[RESULT]
        if "refused" in result:
            refused[trial.number] = result["refused"]
        else:
            first.setdefault(_key(trial.params), trial)
    if not first:
        raise ValueError(
            f"a space must hold a design that works; all {len(refused)} were refused, one of them because: "
            f"{next(iter(refused.values()))}"
        )
    points = [
        (t.number, {p.key: t.params[p.key] for p in space.parameters}, t.user_attrs[RESULT]) for t in first.values()
    ]
    fronts = front([[_loss(result, name) for name in space.objectives] for _, _, result in points])
    return Found(
        points=tuple(
            Point(trial=number, design=design, result=result, front=best)
            for (number, design, result), best in zip(points, fronts, strict=True)
        ),
        trials=len(trials),
        refused=refused,
        evaluated=evaluated,
    )


def _loss(result: Result, name: str) -> float:
    value = float(result[name])
    return -value if OBJECTIVES[name] == "maximize" else value


def front(losses: Sequence[Sequence[float]]) -> list[bool]:
    """Which rows no other row beats: is at most equal everywhere and smaller somewhere.

    >>> front([[1, 2], [2, 1], [2, 2], [1, 2]])
    [True, True, False, True]
    """
    import numpy as np

    rows = np.asarray(losses, dtype=np.float64)
    return [not bool(((rows <= row).all(axis=1) & (rows < row).any(axis=1)).any()) for row in rows]


def _key(design: Design) -> str:
    return json.dumps(design, sort_keys=True)


def _identity(space: Space, digest: str) -> str:
    parameters = [[p.key, p.unit, list(p.values), p.low, p.high] for p in space.parameters]
    drawn = [space.search.method, space.search.seed, space.search.population]
    return json.dumps([parameters, list(space.objectives), drawn, digest])


def _check_owner(study: Any, identity: str, storage: Path) -> None:
    owner = study.user_attrs.get("space")
    if owner is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("space", identity)
    elif owner != identity:
        raise ValueError(
            f"storage {storage}: it must hold the same space, models, images and technology, not others; "
            "name another file with --storage"
        )
