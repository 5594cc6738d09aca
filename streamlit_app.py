"""The app: photographs in, captions out, and where the model looked for each word.

    streamlit run streamlit_app.py

The environment variable CAPTIONING_MODEL names another checkpoint than the one that ships. This
file and the pages beside it are layout; what they show is computed in the package.
"""

import streamlit as st


def main() -> None:
    """Lay out the pages."""
    st.set_page_config(page_title="Image captioning", page_icon=":material/image_search:")
    pages = [
        st.Page(
            "app_pages/caption.py", title="Caption", icon=":material/image_search:", default=True
        ),
        st.Page("app_pages/evaluation.py", title="Evaluation", icon=":material/query_stats:"),
        st.Page("app_pages/about.py", title="The model", icon=":material/info:"),
    ]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    main()
