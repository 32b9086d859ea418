"""mmdet's SSD head, able to predict.

The prediction that mmdet's SSDHead inherits reads ``loss_cls``, which this one
head never sets: mmdet 3.3.0 and onedl-mmdetection 3.5.1 end every evaluation of
an SSD with an AttributeError.
"""

from mmdet.models import SSDHead as MmdetSSDHead

from mnv2_mm.registry import MODELS


@MODELS.register_module()
class SSDHead(MmdetSSDHead):
    """SSD300 and SSD512 (Table 6); arguments of mmdet's SSDHead."""

    #: On the class: mmdet calls softmax when there is no loss module.
    loss_cls = None
