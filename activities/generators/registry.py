"""Generators by name: our own, and those that other packages register by entry point."""

from importlib.metadata import EntryPoint, entry_points

from activities.generators.interface import CodeGenerator
from runpermit.config import GenerationSettings
from runpermit.errors import ContainerConfigurationError

ENTRY_POINT_GROUP = "runpermit.generators"

# Named, not imported: a worker with another generator never loads the openai package.
_OPENAI = "activities.generators.openai_generator:OpenAIGenerator"
_MOCK = "activities.generators.mock_generator:from_settings"
_OURS = {"openai": _OPENAI, "basic": _OPENAI, "mock": _MOCK}  # "basic" is the reference's name


def create_generator(settings: GenerationSettings) -> CodeGenerator:
    """The generator that `generation.generator` names.

    An entry point of the group `runpermit.generators` is a callable that takes the
    GenerationSettings and returns a CodeGenerator; our own names can't be taken over.
    Raises ContainerConfigurationError where the name is unknown or ambiguous, the entry point
    does not load, or the generator misses a setting.
    """
    found = _find(settings.generator)
    try:
        factory = found.load()
    except (ImportError, AttributeError) as error:
        raise ContainerConfigurationError(
            f'generation.generator = "{found.name}": its entry point {found.value} does not '
            f"load: {error}. Install or mend the package that registers it."
        ) from error
    generator = factory(settings)
    if not isinstance(generator, CodeGenerator):
        raise ContainerConfigurationError(
            f'generation.generator = "{found.name}": {found.value} returned a '
            f"{type(generator).__name__}, which has no method generate."
        )
    return generator


def _find(name: str) -> EntryPoint:
    if name in _OURS:
        return EntryPoint(name, _OURS[name], ENTRY_POINT_GROUP)
    registered = entry_points(group=ENTRY_POINT_GROUP)
    found = {point.value: point for point in registered if point.name == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ContainerConfigurationError(
            f'generation.generator = "{name}" is registered more than once, as '
            f"{', '.join(sorted(found))}. Uninstall all but one of these packages."
        )
    known = ", ".join(sorted({*_OURS, *registered.names}))
    raise ContainerConfigurationError(
        f'generation.generator = "{name}" is not known. Known are: {known}. Others are registered '
        f"by an entry point of the group {ENTRY_POINT_GROUP}."
    )
