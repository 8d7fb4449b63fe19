"""Which version of a card is updated: the one in the folder, or the one on the Hub, which somebody can have edited."""

from hf_distill.hub.card.front_matter import read_metadata, split_card
from hf_distill.hub.card.merge import has_user_text, is_ours, metadata_of_user, set_metadata, text_of_user


def choose_card(local: str | None, on_hub: str | None, is_as_pushed: bool) -> str | None:
    """Return the version of a card that has the edits of the user.

    Args:
        local: The card in the folder; None if there is none.
        on_hub: The card on the Hub; None if there is none.
        is_as_pushed: Whether the card on the Hub is still the one that was pushed last.

    Raises:
        ValueError: if the card was edited in both places, or the metadata of a card cannot be read.
    """
    if on_hub is None or local == on_hub:
        return local
    is_local_edited = local is not None and has_user_text(local)
    if is_as_pushed and (is_local_edited or not has_user_text(on_hub)):
        return local
    if is_local_edited and not has_user_text(on_hub):
        return _add_metadata(local or "", on_hub)
    if is_local_edited and text_of_user(local or "") != text_of_user(on_hub):
        raise ValueError("was edited in the folder and on the Hub")
    return _add_metadata(on_hub, local or "")


def _add_metadata(card: str, other: str) -> str:
    """Add the user's metadata of the other version of the card."""
    if not is_ours(card) or not is_ours(other):
        return card
    known = read_metadata(split_card(card))
    return set_metadata(card, {key: value for key, value in metadata_of_user(other).items() if key not in known})
