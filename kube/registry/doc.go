// Package registry is the room of models: their versions, kept as immutable ConfigMaps, and the head of each model, one
// ConfigMap that holds its aliases, approvals and the history of every change. It needs no server: a number is taken by
// creating an object of its name, and an alias moves with its line of history in one update of one object under its
// resourceVersion. What lists show is copied to labels and annotations, and checked against the data when it is read.
package registry
