"""Studies of a made-up head, for everything that the licensed data cannot be used for."""

from tfrecords_tools.phantom.rsna_files import SynthSummary, synth
from tfrecords_tools.phantom.study import Study, make_study

__all__ = ["Study", "SynthSummary", "make_study", "synth"]
