"""Compose a `Config` from overrides with hydra."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from node_repro.config import Config
from node_repro.config.choices import Choices, choices_in, conf_folder
from node_repro.config.experiments import replace_former_names, to_content
from node_repro.config.overrides import Given, misplaced_key, refuse_wrong, unreadable
from node_repro.config.validation import validate
from node_repro.experiments import all_experiments
from node_repro.runs import OutputError
from node_repro.runs.json_values import flatten


def compose(overrides: Sequence[str], folders: Sequence[Path] = ()) -> Config:
    """Compose and validate a configuration.

    Args:
        overrides: The arguments of a command line. Former names of experiments are accepted.
        folders: Additional folders of yaml files, as given by `--config-dir`.

    Raises:
        ConfigError: The overrides are wrong or inconsistent.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import ConfigCompositionException
    from omegaconf import open_dict

    overrides, _ = replace_former_names(overrides)
    choices = choices_in(folders)
    refuse_wrong(read(overrides, choices), choices, multirun=False)
    register_experiments(choices)
    if folders:
        overrides = [*overrides, f"hydra.searchpath={[str(one.resolve()) for one in folders]}"]
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        try:
            cfg = hydra.compose("config", overrides, return_hydra_config=True)
        except ConfigCompositionException as error:
            raise composition_error(error, choices) from error.__cause__
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return validated(cfg, choices)


def register_experiments(choices: Choices) -> None:
    """Register the experiments described in Python with hydra, unless a yaml file replaces them."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().repo["experiment"] = {
        file: node
        for file, node in _experiment_nodes().items()
        if choices.described(file.removesuffix(".yaml"))
    }


@cache
def _experiment_nodes() -> dict[str, Any]:
    """The experiments described in Python as hydra's ConfigStore holds them, by file name."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for one in all_experiments().values():
        content = to_content(one)
        store.store(one.name, content, "experiment", "_global_", "node_repro.experiments")
    return store.repo.pop("experiment")


def composition_error(error: Exception, choices: Choices) -> Exception:
    """Convert an error of hydra to a ConfigError if it is about a missing key."""
    key = getattr(error.__cause__, "full_key", None)
    return misplaced_key(key, f"the chosen {key.partition('.')[0]}", choices) if key else error


def composed_again(run: Path) -> Config:
    """The configuration of a run's directory, composed again from its overrides."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    try:
        words = (run / "overrides.txt").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OutputError(
            f"{run} is not the directory of a run: its overrides.txt cannot be read"
        ) from error
    state = Singleton.get_state()  # compose() replaces the state of the running hydra job
    GlobalHydra.instance().clear()
    try:
        return compose(words)
    finally:
        Singleton.set_state(state)


def read(overrides: Sequence[str], choices: Choices) -> list[Given]:
    """Parse overrides with hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Override
    from hydra.errors import HydraException

    def values(override: Override) -> tuple[object, ...]:
        if not override.is_sweep_override():
            return (override.value(),)
        sweep = override.value()
        if isinstance(sweep, ChoiceSweep):
            return tuple(getattr(item, "text", item) for item in sweep.list)
        return ()

    parser = OverridesParser.create()
    given = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise unreadable(text, choices) from error
        action = next((sign for sign in ("++", "+", "~") if text.startswith(sign)), "")
        package = f"@{override.package}" if override.package else ""
        key = f"{override.key_or_group}{package}"
        sweep = override.is_sweep_override()
        given.append(Given(text, action, key, values(override), sweep))
    return given


def validated(cfg: object, choices: Choices) -> Config:
    """Validate the configuration that hydra composed for the current job. Raises ConfigError."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    assert isinstance(cfg, DictConfig)
    typed: set[str] = set()
    for one in read(typed_words(), choices):
        inside = one.values[0] if one.values else None
        typed |= set(flatten({one.key: inside}))
    return validate(cfg, dict(HydraConfig.get().runtime.choices), typed, choices)


def typed_words() -> list[str]:
    """The overrides of the current job as typed, with `${...}` not resolved."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    return [str(text) for text in OmegaConf.to_container(HydraConfig.get().overrides.task) or []]
