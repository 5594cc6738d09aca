"""What a user can put right."""


class CaptioningError(ValueError):
    """Something that a user can fix: a file, a setting, a data set.

    The message is one sentence that says what is wrong and what to do. Entry points print it and
    exit with a non-zero status; any other exception is a defect of ours and keeps its traceback.
    """


class SettingError(CaptioningError):
    """A flag or a setting that is out of range, or that does not go with another one."""
