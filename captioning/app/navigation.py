"""The pages of the app; Streamlit runs this file, or ``streamlit_app.py``, which imports it."""

import streamlit as st

from captioning.app import about_page, caption_page, evaluation_page


def main() -> None:
    """Show the page that was chosen, under a bar with all of them."""
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
