"""Rehearsal: a session in which reads are live, and writes are judged, recorded and answered.

None of them is forwarded to the machine. What was written, and what is known to follow from it, is
read back as if it had been: by patching the IOC's live replies, or from a model IOC.
"""
