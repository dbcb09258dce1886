from . import pointwise_parallel as pointwise_parallel
