"""The app: upload photographs, read their captions, see what each word rests on.

    streamlit run streamlit_app.py

The environment variable CAPTIONING_MODEL names a checkpoint other than the one that ships;
CAPTIONING_DEVICE says where to compute: auto (a GPU if there is one), cpu or cuda;
CAPTIONING_ENGINE and CAPTIONING_PRECISION how: see `captioning-app --help`. The pages are in
captioning/app; an installed package starts the same app with `captioning-app`.
"""

from pathlib import Path

from streamlit.starlette import App

import captioning.app
from captioning.app.gate import MIDDLEWARE, apologise
from captioning.app.memory import return_what_is_freed

PAGES = Path(captioning.app.__file__).with_name("navigation.py")

return_what_is_freed()
# Streamlit looks for this line in this file, and then serves the pages so.
app = App(PAGES, middleware=MIDDLEWARE, on_script_error=apologise)

if __name__ == "__main__":
    from captioning.app.navigation import main  # which a server must not import before it runs

    main()
