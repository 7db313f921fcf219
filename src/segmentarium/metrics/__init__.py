"""Scores: regions, surfaces, segments, objects, boundaries, partitions, calibration, and intervals for all.

Each family has functions for one case and a class that gathers cases (``update``, ``merge``, ``compute``,
``reset``). ``docs/metrics.md`` says what each number means and where tools disagree.

====================  ==================================================================================
family                modules
====================  ==================================================================================
what all share        definition · undefined · intervals · aggregate · per_image
regions               confusion · scores · regions · region_protocols · region_definitions
surfaces              surface · surface_gaps · surface_scores · lesions
panoptic quality      panoptic · panoptic_kernels · panoptic_definitions · segments
average precision     average_precision · average_precision_definitions · coco_precision · voc_precision ·
                      objects · objects_kernels · cityscapes · cityscapes_precision
boundaries            boundaries · boundary_scores · bsds · curves
partitions            contingency · partitions · hierarchy · isbi · warping · superpixels
probabilities         calibration · calibration_definitions · uncertainty · saliency
video                 video
====================  ==================================================================================
"""

from segmentarium.metrics.aggregate import Aggregate
from segmentarium.metrics.average_precision import AveragePrecision, AveragePrecisionScores
from segmentarium.metrics.boundaries import boundary_f, boundary_iou, trimap
from segmentarium.metrics.boundary_scores import Boundaries, BoundaryScores
from segmentarium.metrics.bsds import BoundaryBenchmark
from segmentarium.metrics.calibration import Calibration, CalibrationScores, Reliability, calibration_scores
from segmentarium.metrics.cityscapes import InstanceIou, InstanceIouScores
from segmentarium.metrics.cityscapes_precision import InstancePrecision, InstancePrecisionScores
from segmentarium.metrics.coco_precision import coco_average_precision
from segmentarium.metrics.confusion import ConfusionMatrix, SemanticScores, count_pairs
from segmentarium.metrics.contingency import Contingency, joint_histogram
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.hierarchy import Hierarchies, HierarchyScores
from segmentarium.metrics.intervals import bootstrap, bootstrap_mean, bootstrap_sums
from segmentarium.metrics.isbi import Membranes, score_membranes
from segmentarium.metrics.lesions import LesionDetection, LesionMatch, LesionScores, match_lesions
from segmentarium.metrics.panoptic import PanopticQuality, PanopticScores, Quality, Segments, panoptic_quality
from segmentarium.metrics.partitions import Partitions, PartitionScore, score_partition
from segmentarium.metrics.regions import Regions, RegionScores, region_scores, sensitivity, specificity
from segmentarium.metrics.saliency import Saliency, SaliencyScores, saliency_scores
from segmentarium.metrics.scores import (
    DEFINITIONS,
    Tally,
    class_accuracy,
    dice,
    frequency_weighted_iou,
    iou,
    mean_accuracy,
    mean_dice,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
)
from segmentarium.metrics.superpixels import Superpixels, score_superpixels
from segmentarium.metrics.surface import (
    SurfaceMeasures,
    hausdorff_distance,
    measure_classes,
    measure_surfaces,
)
from segmentarium.metrics.surface_scores import SurfaceDistances, SurfaceScores
from segmentarium.metrics.uncertainty import Uncertainty, UncertaintyMaps, uncertainty_maps
from segmentarium.metrics.video import VideoObjects, VolumeBenchmark
from segmentarium.metrics.voc_precision import VocPrecision, VocPrecisionScores
from segmentarium.metrics.warping import Warping, warping_error

__all__ = [
    "DEFINITIONS",
    "Aggregate",
    "AveragePrecision",
    "AveragePrecisionScores",
    "Boundaries",
    "BoundaryBenchmark",
    "BoundaryScores",
    "Calibration",
    "CalibrationScores",
    "ConfusionMatrix",
    "Contingency",
    "Definition",
    "Hierarchies",
    "HierarchyScores",
    "InstanceIou",
    "InstanceIouScores",
    "InstancePrecision",
    "InstancePrecisionScores",
    "LesionDetection",
    "LesionMatch",
    "LesionScores",
    "Membranes",
    "PanopticQuality",
    "PanopticScores",
    "PartitionScore",
    "Partitions",
    "Quality",
    "RegionScores",
    "Regions",
    "Reliability",
    "Saliency",
    "SaliencyScores",
    "Segments",
    "SemanticScores",
    "Superpixels",
    "SurfaceDistances",
    "SurfaceMeasures",
    "SurfaceScores",
    "Tally",
    "Uncertainty",
    "UncertaintyMaps",
    "VideoObjects",
    "VocPrecision",
    "VocPrecisionScores",
    "VolumeBenchmark",
    "Warping",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_sums",
    "boundary_f",
    "boundary_iou",
    "calibration_scores",
    "class_accuracy",
    "coco_average_precision",
    "count_pairs",
    "dice",
    "frequency_weighted_iou",
    "hausdorff_distance",
    "iou",
    "joint_histogram",
    "match_lesions",
    "mean_accuracy",
    "mean_dice",
    "mean_iou",
    "measure_classes",
    "measure_surfaces",
    "panoptic_quality",
    "pixel_accuracy",
    "precision",
    "recall",
    "region_scores",
    "saliency_scores",
    "score_membranes",
    "score_partition",
    "score_superpixels",
    "sensitivity",
    "specificity",
    "trimap",
    "uncertainty_maps",
    "warping_error",
]
