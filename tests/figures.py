"""What the tests of plots look for in a figure."""


def stars(figure):
    """Where every panel has stars."""
    return [
        [
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in axes.lines
            if line.get_marker() == "*"
        ]
        for axes in figure.axes
    ]
