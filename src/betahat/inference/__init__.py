"""What follows from an estimate and its covariance: functions of tensors, and the records they return."""
