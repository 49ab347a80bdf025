// Package metrics is the room of Prometheus: it finds the one that watches a cluster and asks it.
package metrics
