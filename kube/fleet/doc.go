// Package fleet is the room where everything that trains is seen at once, whoever started it: the pieces of work under
// their root owners, the pods that do them, and the nodes with the accelerators they use.
//
// It reads once (Read) or keeps watching (Watch), and both give the same immutable Snapshot, decoded by the same
// functions. Facts keep text as the cluster gave it; whoever draws them sanitizes.
package fleet
