"""The application that servers and `flask` load."""

import atexit
import gc

from portal import create_app

app = create_app()
# At its end a command would look through everything that it has loaded once more, for a fifth of its time.
atexit.register(gc.freeze)
