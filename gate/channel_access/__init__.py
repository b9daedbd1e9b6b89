"""Channel Access as it is on the wire: frames, values, and circuits to the IOCs."""
