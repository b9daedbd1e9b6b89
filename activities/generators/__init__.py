"""Who writes the code: generators chosen by name, all behind one interface."""

from activities.generators.interface import CodeGenerator, GeneratedCode, GenerationTask
from activities.generators.registry import ENTRY_POINT_GROUP, create_generator

__all__ = [
    "ENTRY_POINT_GROUP",
    "CodeGenerator",
    "GeneratedCode",
    "GenerationTask",
    "create_generator",
]
