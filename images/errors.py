"""Why a picture is refused."""


class ImageUnreadable(Exception):
    """What was sent is no picture that can be read: another format, cut off, broken, or empty."""


class ImageTooLarge(Exception):
    """The picture has more bytes or more pixels than are decoded."""
