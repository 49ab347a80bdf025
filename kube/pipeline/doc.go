// Package pipeline is the room of the pipeline file: what a user may write in it, how it is read strictly,
// how it is resolved into the plan of one run, and which Kubernetes objects a planned stage becomes.
// Everything here is pure but the packaging of a source folder, which reads files and asks git.
package pipeline
