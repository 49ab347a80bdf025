// Package drift is the room of distributions: how far those that a model meets are from those that it was trained on.
// It asks nobody, it only computes.
package drift
