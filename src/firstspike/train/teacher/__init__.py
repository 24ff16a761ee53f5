"""Float networks that teach: trained fast by the methods of the CIFAR-10 speed records, then asked by ``--teacher``."""

from firstspike.train.teacher.file import is_teacher, load_teacher, save_teacher
from firstspike.train.teacher.fit import fit_teacher
from firstspike.train.teacher.network import TeacherNetwork
from firstspike.train.teacher.recipe import TeacherRecipe, find_teacher_recipe, teacher_recipe_names

__all__ = [
    "TeacherNetwork",
    "TeacherRecipe",
    "find_teacher_recipe",
    "fit_teacher",
    "is_teacher",
    "load_teacher",
    "save_teacher",
    "teacher_recipe_names",
]
