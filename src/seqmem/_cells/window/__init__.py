from . import parallel as parallel
