"""What scores are called when people read them."""

from __future__ import annotations

TITLES = {
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "mean_iou_per_image": "mean IoU per image",
    "hd95_mm": "HD95 in mm",
    "assd_mm": "mean surface distance in mm",
    "nsd": "surface Dice at 1 mm",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP of small objects",
    "ap_medium": "AP of medium objects",
    "ap_large": "AP of large objects",
    "ar100": "average recall",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "pq_things": "PQ of things",
    "pq_stuff": "PQ of stuff",
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "ar": "recall",
    "interval": "95% interval",
}


def title_of(score: str) -> str:
    """The name of a score in a sentence.

    >>> title_of("mean_iou"), title_of("ar_small")
    ('mean IoU', 'ar small')
    """
    return TITLES.get(score, score.replace("_", " "))


def heading_of(score: str) -> str:
    """The name of a score at the beginning of a line."""
    title = title_of(score)
    return title[:1].upper() + title[1:]
