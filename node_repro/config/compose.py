"""From words to a `Config`, by hydra's grammar and composition."""

from collections.abc import Sequence
from pathlib import Path

from node_repro.config import Config
from node_repro.config.choices import Choices, conf_folder, leaves
from node_repro.config.overrides import Given, refuse_wrong, unreadable
from node_repro.config.validation import validate
from node_repro.runs import OutputError


def compose(overrides: Sequence[str]) -> Config:
    """The validated configuration for some overrides."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    choices = Choices([conf_folder()])
    refuse_wrong(read(overrides, choices), choices, multirun=False)
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = hydra.compose("config", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return validated(cfg, choices)


def composed_again(run: Path) -> Config:
    """The configuration of a run's directory, from what was asked for then."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    try:
        words = (run / "overrides.txt").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OutputError(
            f"{run} is no directory of a run: its overrides.txt cannot be read"
        ) from error
    state = Singleton.get_state()  # compose() begins anew what this job stands in
    GlobalHydra.instance().clear()
    try:
        return compose(words)
    finally:
        Singleton.set_state(state)


def read(overrides: Sequence[str], choices: Choices) -> list[Given]:
    """The overrides taken apart by hydra's own grammar."""
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
    """What hydra composed for the job that it is at, checked. Raises ConfigError."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    assert isinstance(cfg, DictConfig)
    typed: set[str] = set()
    for one in read(typed_words(), choices):
        inside = one.values[0] if one.values else None
        section = dict(leaves(inside, f"{one.key}.")) if isinstance(inside, dict) else {one.key}
        typed |= set(section)
    return validate(cfg, dict(HydraConfig.get().runtime.choices), typed, choices)


def typed_words() -> list[str]:
    """This job's overrides as typed: `${...}` in them stays as it is."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    return [str(text) for text in OmegaConf.to_container(HydraConfig.get().overrides.task) or []]
