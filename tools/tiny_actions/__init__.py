"""How the bundled action model `tiny` was made: data, crops, two streams, calibration. See its README.md."""
