"""The app: upload photographs, read their captions, see what each word rests on.

    streamlit run streamlit_app.py

The environment variable CAPTIONING_MODEL names a checkpoint other than the one that ships, and
CAPTIONING_DEVICE where to compute: auto (a GPU if there is one), cpu or cuda. The pages are in
captioning/app; an installed package starts the same app with `captioning-app`.
"""

from captioning.app.navigation import main

if __name__ == "__main__":
    main()
