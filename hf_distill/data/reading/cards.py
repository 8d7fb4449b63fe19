"""Read the files and class names of a dataset from its card (`README.md`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Card:
    """The parts of a card's YAML header that locate and describe the rows.

    Attributes:
        folder: The folder of the card.
        configs: The entries of `configs`, with the keys `config_name`, `data_files`, `data_dir` and `default`.
        infos: The entries of `dataset_info`.
    """

    folder: Path
    configs: list[dict[str, Any]]
    infos: list[dict[str, Any]]

    def data_folder(self, config_name: str | None) -> Path:
        """Return the folder with the files of a configuration.

        Raises:
            ValueError: if there is no such configuration, or if `config_name` is None and the card has several
                configurations without a default.
        """
        data_dir = Path(str(self._config(config_name).get("data_dir") or "."))
        if data_dir.is_absolute() or ".." in data_dir.parts:
            raise ValueError(f"{self.folder}: the card lists {str(data_dir)!r}, which is outside the folder.")
        return self.folder / data_dir

    def data_files(self, config_name: str | None) -> dict[str, list[str]]:
        """Return the file patterns of each split; an empty dict if the card lists no files."""
        files = self._config(config_name).get("data_files") or {}
        if isinstance(files, list) and isinstance(files[0], dict):
            files = {str(entry["split"]): entry["path"] for entry in files}
        if not isinstance(files, dict):
            files = {"train": files}
        return {split: paths if isinstance(paths, list) else [paths] for split, paths in files.items()}

    def class_names(self, config_name: str | None) -> dict[str, list[str]]:
        """Return the class names that the card declares, by column."""
        name = config_name or (str(self._config(None).get("config_name")) if self.configs else None)
        infos = [info for info in self.infos if info.get("config_name") == name] or self.infos[:1]
        features = infos[0].get("features") if infos else None
        named = {entry.get("name"): _class_names(entry) for entry in _list_of_dicts(features)}
        return {name: names for name, names in named.items() if name and names}

    def _config(self, config_name: str | None) -> dict[str, Any]:
        names = [str(config.get("config_name", "default")) for config in self.configs]
        if config_name is not None:
            if config_name not in names:
                raise ValueError(
                    f"{self.folder} has no configuration {config_name!r}, only {', '.join(names)}. Name one of "
                    "them with --dataset_config_name (`dataset_config_name`)."
                )
            return self.configs[names.index(config_name)]
        default = next((config for config in self.configs if config.get("default") == "true"), None)
        if default is None and "default" in names:
            default = self.configs[names.index("default")]
        if default is None and len(names) > 1:
            raise ValueError(
                f"{self.folder} has the configurations {', '.join(names)}. Name one of them with "
                "--dataset_config_name (`dataset_config_name`)."
            )
        return default or self.configs[0]


def read_card(folder: Path) -> Card | None:
    """Read the YAML header of the `README.md` in a folder; return None if there is none.

    Raises:
        ValueError: if the header is not YAML.
    """
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""
    if not text.startswith("---"):
        return None
    header = text.split("\n---", 1)[0].removeprefix("---")
    try:
        data = yaml.BaseLoader(header).get_single_data()  # keeps all values as text: a class can be named `no`
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: its header is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(data, dict):
        return None
    infos = data.get("dataset_info") or []
    return Card(folder, _list_of_dicts(data.get("configs")), _list_of_dicts(infos))


def _class_names(feature: dict[str, Any]) -> list[str] | None:
    """Return the class names of a feature that is a `class_label` or a list of them; None for other features."""
    kinds = [feature.get(kind) for kind in ("dtype", "sequence", "list")]
    inner: dict[str, Any] = next((kind for kind in kinds if isinstance(kind, dict)), {})
    names = inner.get("class_label", {}).get("names")
    if isinstance(names, dict):
        return [names[key] for key in sorted(names, key=int)]
    return names if isinstance(names, list) else None


def _list_of_dicts(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [entry for entry in values if isinstance(entry, dict)]
