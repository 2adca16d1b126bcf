"""Mask R-CNN (He, Gkioxari, Dollar, Girshick 2017) as heads on a trained, frozen light U-Net."""
