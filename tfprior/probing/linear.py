"""Linear probes: what is to be read off features without changing them.

Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644.

Shapes: N images · D features · K classes.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

from tfprior.data import Images
from tfprior.encoders import Encoder
from tfprior.layers import ImageScaling
from tfprior.probing.scoring import Pooling, Probed, classifier_of, features_of, share_right

NEVER = -1e4  # the logit of a class without training images


def linear_probe(
    encoder: Encoder,
    images: Images,
    scaling: ImageScaling | None = None,
    pooling: Pooling = "mean",
    penalty: float = 1.0,
    max_steps: int = 1000,
    batch_size: int = 256,
) -> Probed:
    """Multinomial logistic regression on an encoder's features, which are computed once and stay as they are.

        images ── encoder ── pooled features, each with mean 0 and deviation 1 ── W, b ── logits

    W and b minimize Σ cross-entropy + ½ · penalty · ‖W‖², up to L-BFGS's tolerance: no learning rate, no
    seed. The head of the classifier has mean and deviation in its weights.

    Args:
        encoder: of the images.
        images: with labels in both parts.
        scaling: of the images, as the encoder was trained; without it the encoder takes levels over the
            highest one, in [0, 1].
        pooling: "class_token", or "mean" over the map.
        penalty: of the weights.
        max_steps: of L-BFGS.
        batch_size: images whose features are computed at once.

    Raises:
        ValueError: for a penalty that is not positive, images without labels of several classes in both
            parts, codes, and images of another shape than the encoder was built for.
    """
    if not penalty > 0:
        raise ValueError(f"Got penalty={penalty!r}; expected a number above 0, for example 1.0.")
    classifier = classifier_of(encoder, images, scaling or ImageScaling(), pooling)
    train, test = (
        features_of(classifier, values, images.num_levels, batch_size)
        for values in (images.x_train, images.x_test)
    )
    mean, deviation = train.mean(axis=0, dtype="float64"), train.std(axis=0, dtype="float64")
    deviation[deviation < 1e-6] = 1.0  # of features that say nothing
    regression = LogisticRegression(C=1 / penalty, max_iter=max_steps)
    regression.fit((train - mean) / deviation, images.y_train)
    weights, bias = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # which it tells apart by one logit
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    kernel = np.zeros((train.shape[1], classifier.num_classes))
    offset = np.full(classifier.num_classes, NEVER)
    kernel[:, regression.classes_] = (weights / deviation).T
    offset[regression.classes_] = bias - weights @ (mean / deviation)
    classifier.head.set_weights([kernel, offset])
    right, right_in_training = (
        share_right(features @ kernel + offset, labels)
        for features, labels in ((test, images.y_test), (train, images.y_train))
    )
    return Probed(classifier, right, right_in_training)
