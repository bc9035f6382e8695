"""Offline tools: DICOM slices to TFRecord shards. Needs neither Keras nor ich_keras."""
