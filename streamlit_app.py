"""The app: photographs in, captions out, and where the model looked for each word.

    streamlit run streamlit_app.py

The environment variable CAPTIONING_MODEL names another checkpoint than the one that ships. The
pages are in captioning/app.
"""

import streamlit as st

from captioning.app import about_page, caption_page, evaluation_page


def main() -> None:
    """Lay out the pages."""
    st.set_page_config(page_title="Image captioning", page_icon=":material/image_search:")
    pages = [
        st.Page(
            caption_page.main,
            title="Caption",
            icon=":material/image_search:",
            url_path="caption",
            default=True,
        ),
        st.Page(
            evaluation_page.main,
            title="Evaluation",
            icon=":material/query_stats:",
            url_path="evaluation",
        ),
        st.Page(about_page.main, title="The model", icon=":material/info:", url_path="about"),
    ]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    main()
