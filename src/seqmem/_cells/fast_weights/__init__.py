from . import maps as maps, parallel as parallel
