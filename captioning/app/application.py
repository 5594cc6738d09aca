"""The app as a server runs it; ``streamlit_app.py`` has the same for a checkout."""

from pathlib import Path

from streamlit.starlette import App

from captioning.app.gate import MIDDLEWARE, apologise
from captioning.app.memory import return_what_is_freed

PAGES = Path(__file__).with_name("navigation.py")

return_what_is_freed()
app = App(PAGES, middleware=MIDDLEWARE, on_script_error=apologise)
