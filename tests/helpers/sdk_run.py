"""Predict with mmdeploy's SDK, in an environment that has mmdeploy_runtime alone.

    python sdk_run.py det|cls FOLDER IMAGE.npy ...

prints a line of JSON for each image: boxes, labels and scores.
"""

import json
import sys

import mmdeploy_runtime
import numpy as np

task, folder, *images = sys.argv[1:]
if task == 'det':
    model = mmdeploy_runtime.Detector(folder, 'cpu')
else:
    model = mmdeploy_runtime.Classifier(folder, 'cpu')
for image in map(np.load, images):
    if task == 'det':
        boxes, labels, _ = model(image)
        line = dict(boxes=boxes[:, :4], labels=labels, scores=boxes[:, 4])
    else:
        labels, scores = np.array(model(image)).T
        line = dict(labels=labels.astype(int), scores=scores)
    print(json.dumps({key: value.tolist() for key, value in line.items()}))
