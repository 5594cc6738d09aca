"""The third page: the card of the model that ships."""

import streamlit as st

from captioning.network.shipped import SHIPPED_MODEL


def main() -> None:
    """Lay out the page."""
    card = SHIPPED_MODEL.with_name("README.md")
    if not card.is_file():
        st.info(f"There is no model card, {card.name}; `make results` writes it.")
        return
    st.markdown(card.read_text(encoding="utf-8"))
