# Table 5, row SSDLite: 2.1M parameters in the extra layers and predictors.
# The paper's 0.35B there are operations; its multiply-adds are 0.18G.
_base_ = '../ssdlite_mnv2_coco.py'
