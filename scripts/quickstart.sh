#!/bin/sh
# From nothing to a served ensemble on procedurally drawn lesions, in .venv, made when missing.
set -eu
. "$(dirname "$0")/environment.sh"
PATH="$PWD/.venv/bin:$PATH"

if [ ! -d tfrecords/phantom ]; then
    tfskin-prepare phantom phantoms
fi
tfskin-ensemble configs/ensemble_rgb_hsv_fft.yaml
rm -rf exports/ensemble_rgb_hsv_fft
tfskin-export runs/ensemble_rgb_hsv_fft
tfskin-predict exports/ensemble_rgb_hsv_fft 'phantoms/phantom_00000[0-7]_0.jpg' \
    --output predictions/quickstart.csv --annotate predictions/quickstart

cat <<END

What was made:
  tfrecords/phantom                       shards, their splits and their facts
  runs/five_layer_{rgb,hsv,fft}           the three members
  runs/ensemble_rgb_hsv_fft/report.html   the ensemble: figures with intervals, plots
  exports/ensemble_rgb_hsv_fft/1          a SavedModel for TensorFlow Serving
  predictions/quickstart.csv              class probabilities of eight images
  predictions/quickstart/                 the same drawn beside the images
END
