"""Many groups of rows, each with a density of its own: one for each customer, sensor or cell.

::

    groups = discoformer.estimate_groups("data.parquet", by="customer", path="customers.groups")
    groups.log_density(new_rows)  # by the group of each row
    groups[17].score(Y)  # the estimate of one group
    groups.skipped  # which groups have no estimate, and why
"""

from discoformer.groups.estimating import estimate_groups
from discoformer.groups.saved_groups import SavedGroups, load_groups
from discoformer.groups.store import is_groups_file

__all__ = ["SavedGroups", "estimate_groups", "is_groups_file", "load_groups"]
