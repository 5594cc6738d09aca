"""What the decoder sees of a photograph that was altered: the slow way, for tests of occlusion."""

import torch


def see(decoder, features, altered):
    """The memory when ``features`` (1, L, C) look like ``altered``.

    The nouns are those of the whole photograph; how sure of them the classifier is, it says of what
    it sees.
    """
    offered = decoder.classifier.offer(features).words  # (1, K)
    chances = decoder.classifier(altered).softmax(dim=-1)[0]  # (O,)
    sure = [chances[decoder.classifier.nouns == noun].sum() for noun in offered[0]]
    confidence = torch.stack(sure).clamp(min=1e-6).log().unsqueeze(0)
    return decoder.remember(altered, offered, confidence)
