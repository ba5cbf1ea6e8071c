"""Negative numbers among what a kernel reads: one pass over contiguous arrays of any number of axes.

Adapters call these where a pass in numpy, field by field, would take longer than the kernel itself. NaN is not
negative. Entries that are not active do not count.
"""

from torchrrm.kernels.compiled import kernel

__all__ = ["negative", "negative_links", "negative_rows"]


@kernel
def negative(values):
    """Whether an array of one axis holds a negative number."""
    found = False
    for k in range(values.size):
        found |= values[k] < 0.0
    return found


@kernel
def negative_links(gain, first, second, active):
    """Whether `gain` `[.. rx tx]`, or `first` or `second` `[.. tx]`, holds a negative number between active links."""
    links, found = active.shape[-1], False
    rows, left, right, on = gain.ravel(), first.ravel(), second.ravel(), active.ravel()
    for k in range(on.size):
        if not on[k]:
            continue
        found |= left[k] < 0.0 or right[k] < 0.0
        row, block = k * links, (k // links) * links
        for j in range(links):
            found |= (rows[row + j] < 0.0) & on[block + j]
    return found


@kernel
def negative_rows(first, second, third, active):
    """Whether one of three arrays, all of the shape of `active`, holds a negative number at an active entry."""
    found = False
    one, two, three, on = first.ravel(), second.ravel(), third.ravel(), active.ravel()
    for k in range(on.size):
        found |= ((one[k] < 0.0) | (two[k] < 0.0) | (three[k] < 0.0)) & on[k]
    return found
