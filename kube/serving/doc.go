// Package serving is the room of what serves models: Deployments with what stands before them, and the rollouts that take
// them from one version to the next.
//
// A rollout is a record in an annotation of the object that decides who serves: the Deployment of a rolling or canary
// rollout, the Service of a blue-green one. The record changes only under that object's resourceVersion, together with
// what the decision changes, so a client with an old view of it can do no harm. All else is derived from live objects.
// Advance takes one step: observe, next (pure), act. Any client may take any step at any time.
package serving
