// Package job reads the work itself: Jobs and their pods as facts, their logs as one stream of lines, and
// the progress that a training process reports in those lines.
//
// Facts keep text as the cluster gave it; whoever draws them sanitizes. Log lines are sanitized at the source.
package job
