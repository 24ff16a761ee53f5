"""Float networks that teach: trained fast by the methods of the CIFAR-10 speed records, then asked by ``--teacher``."""

from firstspike.train.teacher.file import load_teacher, save_teacher
from firstspike.train.teacher.fit import fit_teacher
from firstspike.train.teacher.network import TeacherNetwork
from firstspike.train.teacher.recipe import TeacherRecipe, load_teacher_recipe

__all__ = [
    "TeacherNetwork",
    "TeacherRecipe",
    "fit_teacher",
    "load_teacher",
    "load_teacher_recipe",
    "save_teacher",
]
