"""What detectors of objects share: boxes, anchors, matching, sampling, pooling of regions, and masks.

Pure functions of TensorFlow tensors that know nothing of models. Boxes are corners (x1, y1, x2, y2) in pixels, the
image reaching from 0 to its width and height.
"""
