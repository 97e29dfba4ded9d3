"""The merged view: the providers and models of the catalogue, with what a person changes and adds.

Pure: the same catalogue and rows give the same view. Each provider and each model is in it once. Of two providers with
one id the first counts: built in, aggregator, custom, local.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from functions.ownpilot.core.catalogue.facts import CAPABILITIES, Catalogue, Model, Provider
from functions.ownpilot.core.catalogue.rows import ModelRow, OwnRows, ProviderRow
from functions.ownpilot.core.catalogue.table import AGGREGATORS
from functions.ownpilot.core.catalogue.view import MergedModel, MergedProvider, Source, View
from functions.ownpilot.core.local_store import LocalServer


class _Base(NamedTuple):
    """A provider of one source before a person's changes; `off` are its models that are switched off there."""

    facts: Provider
    source: Source
    is_enabled: bool = True
    off: frozenset[str] = frozenset()


def merged(catalogue: Catalogue, own: OwnRows) -> View:
    """Return the view of a person. The work grows with the person's rows, not with the catalogue's models."""
    shared, keys = _shared(catalogue), {*own.keys}
    rows = {row.provider_id: row for row in own.providers}
    models: defaultdict[str, dict[str, ModelRow]] = defaultdict(dict)
    for row in own.models:
        models[row.provider_id][row.model_id] = row
    found: dict[str, MergedProvider | None] = {}
    for base in [*shared.bases, *map(_custom, own.providers), *map(_local, own.local)]:
        id_ = base.facts.id if base else ""
        if base is None or id_ in found:
            continue
        row, about_models = rows.get(id_), models.get(id_, {})
        is_configured = base.is_enabled if base.source == "local" else id_ in keys
        if row and row.is_removed and base.source == "builtin":
            found[id_] = None
        elif row or about_models or base.source == "local":
            found[id_] = _provider(base, row, about_models, is_configured)
        else:
            found[id_] = shared.provider(base, is_configured)
    return View([each for each in found.values() if each])


class _Shared:
    """The providers of a catalogue as all persons have them who change nothing of them."""

    def __init__(self, catalogue: Catalogue):
        self.bases = [_Base(facts, "builtin") for facts in catalogue.providers.values()]
        self.bases += [_aggregator(id_, catalogue) for id_ in AGGREGATORS if id_ not in catalogue.providers]
        self._made: dict[tuple[str, bool], MergedProvider] = {}

    def provider(self, base: _Base, is_configured: bool) -> MergedProvider:
        key = base.facts.id, is_configured
        if key not in self._made:
            self._made[key] = _provider(base, None, {}, is_configured)
        return self._made[key]


@lru_cache(maxsize=1)
def _shared(catalogue: Catalogue) -> _Shared:
    return _Shared(catalogue)


def _aggregator(id_: str, catalogue: Catalogue) -> _Base:
    own = AGGREGATORS[id_]
    like = catalogue.providers.get(own.like or "")
    models = like.models if like else tuple(_image_model(each) for each in own.images)
    facts = Provider(id_, own.name, "openai-compatible", own.base_url, own.key_name, own.docs_url, models)
    return _Base(facts, "aggregator", is_enabled=False)


def _image_model(id_: str) -> Model:
    return Model(id_, id_.rpartition("/")[2], None, None, None, None, ("image_generation",), "")


def _custom(row: ProviderRow) -> _Base | None:
    if not row.is_custom:
        return None
    facts = Provider(row.provider_id, row.provider_id, "openai-compatible", None, None, None, ())
    return _Base(facts, "custom")


def _local(server: LocalServer) -> _Base:
    provider, models = server
    facts = Provider(
        provider.id, provider.name, "local", provider.base_url, None, None,
        tuple(
            Model(each.model_id, each.display_name, each.context_window, each.max_output, 0, 0,
                  tuple(can for can in CAPABILITIES if can in each.capabilities), "")
            for each in models
        ),
    )  # fmt: skip
    off = frozenset(each.model_id for each in models if not each.is_enabled)
    return _Base(facts, "local", provider.is_enabled, off)


def _provider(
    base: _Base, row: ProviderRow | None, about_models: Mapping[str, ModelRow], is_configured: bool
) -> MergedProvider:
    facts = base.facts
    name, default = (row and row.display_name) or facts.name, facts.default_model
    models: dict[str, MergedModel] = {}
    for model in facts.models:
        about = about_models.get(model.id)
        # A local model has a switch of its own, which the row must not hide.
        is_enabled = about.is_enabled if about and base.source != "local" else model.id not in base.off
        models[model.id] = _model(model, about, MergedModel(
            providerId=facts.id, providerName=name, modelId=model.id, displayName=model.name,
            capabilities=[*model.capabilities], isDefault=model.id == default, isEnabled=is_enabled,
            isCustom=base.source == "custom", hasOverride=about is not None, isConfigured=is_configured,
            source=base.source,
        ))  # fmt: skip
    for id_, about in about_models.items():
        if id_ not in models and about.is_custom:
            model = Model(id_, id_, None, None, None, None, ("chat", "streaming"), "")
            models[id_] = _model(model, about, MergedModel(
                providerId=facts.id, providerName=name, modelId=id_, displayName=id_,
                capabilities=[*model.capabilities], isDefault=False, isEnabled=about.is_enabled, isCustom=True,
                hasOverride=False, isConfigured=is_configured, source="custom",
            ))  # fmt: skip
    is_enabled = row.is_enabled if row else base.is_enabled
    return MergedProvider(facts, base.source, is_enabled, is_configured, models, row)


def _model(facts: Model, about: ModelRow | None, shown: MergedModel) -> MergedModel:
    """Return a model with its numbers, each from the person's row if that has it, else from the facts."""
    if about and about.display_name:
        shown["displayName"] = about.display_name
    if about and about.capabilities is not None:
        shown["capabilities"] = [*about.capabilities]
    numbers = {
        "pricingInput": (about and about.pricing_input, facts.input_price),
        "pricingOutput": (about and about.pricing_output, facts.output_price),
        "contextWindow": (about and about.context_window, facts.context),
        "maxOutput": (about and about.max_output, facts.output),
        "releaseDate": (None, facts.released or None),
    }
    for name, (own, given) in numbers.items():
        value = given if own is None else own
        if value is not None:
            shown[name] = value
    return shown
