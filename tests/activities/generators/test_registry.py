import subprocess
import sys
from pathlib import Path

import pytest

from activities.generators import create_generator
from activities.generators.openai_generator import OpenAIGenerator
from runpermit.config import GenerationSettings
from runpermit.errors import ContainerConfigurationError

ROOT = Path(__file__).parents[3]
MODULE = """
class Own:
    def __init__(self, settings):
        self.settings = settings
    async def generate(self, task): ...

def nothing(settings):
    return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package that registers generators, as pip would leave it."""
    (tmp_path / "own_generators_for_tests.py").write_text(MODULE)
    info = tmp_path / "own_generators-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-generators\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[runpermit.generators]\n"
        "own = own_generators_for_tests:Own\n"
        "mock = own_generators_for_tests:Own\n"
        "nothing = own_generators_for_tests:nothing\n"
        "absent = own_generators_for_tests:Absent\n"
        "broken = no_such_module_at_all:Own\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("name", ["openai", "basic"])
def test_openai_is_also_known_by_the_name_of_the_reference(name: str) -> None:
    generator = create_generator(GenerationSettings(generator=name, model="m"))

    assert isinstance(generator, OpenAIGenerator)


@pytest.mark.usefixtures("install")
def test_a_generator_registered_by_entry_point_is_found_and_gets_the_settings() -> None:
    settings = GenerationSettings(generator="own", model="m")

    generator = create_generator(settings)

    assert type(generator).__name__ == "Own"
    assert generator.settings is settings  # type: ignore[attr-defined]


@pytest.mark.usefixtures("install")
def test_our_own_names_cannot_be_taken_over() -> None:
    assert type(create_generator(GenerationSettings(generator="mock"))).__name__ == "MockGenerator"


@pytest.mark.usefixtures("install")
def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ContainerConfigurationError, match=r"generation\.generator") as caught:
        create_generator(GenerationSettings(generator="claude_code"))

    assert "absent, basic, broken, mock, nothing, openai, own" in caught.value.message


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize("name", ["absent", "broken"])
def test_an_entry_point_that_does_not_load_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ContainerConfigurationError, match=f'"{name}".*does not load'):
        create_generator(GenerationSettings(generator=name))


@pytest.mark.usefixtures("install")
def test_an_entry_point_that_makes_no_generator_is_a_configuration_error() -> None:
    with pytest.raises(ContainerConfigurationError, match="NoneType, which has no method generate"):
        create_generator(GenerationSettings(generator="nothing"))


def test_a_name_that_two_packages_register_is_refused(install: Path) -> None:
    info = install / "other_generators-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-generators\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[runpermit.generators]\nown = elsewhere:Own\n")

    with pytest.raises(ContainerConfigurationError, match="more than once") as caught:
        create_generator(GenerationSettings(generator="own"))

    assert "elsewhere:Own, own_generators_for_tests:Own" in caught.value.message


def test_a_worker_with_another_generator_never_loads_openai() -> None:
    program = (
        "import sys; from activities.generators import create_generator; "
        "from runpermit.config import GenerationSettings; "
        "create_generator(GenerationSettings(generator='mock')); "
        "assert 'openai' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
