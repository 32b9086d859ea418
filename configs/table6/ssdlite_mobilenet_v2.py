# Table 6, row MNet V2 + SSDLite: 4.3M parameters, 0.8B multiply-adds.
_base_ = '../ssdlite_mnv2_coco.py'
