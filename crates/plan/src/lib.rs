//! Desired against live: the steps, the reason for each step, wait or non-step.
