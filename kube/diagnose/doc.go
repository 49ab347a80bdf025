// Package diagnose is the room of the one answer to "why does it wait" and "why did it fail".
//
// It gathers what the cluster knows of one piece of work (Why) or of all that waits or failed (All), each part optional,
// as plain Evidence; Diagnose turns that into causes, each with its evidence and its cure, and asks nobody. A rule is a
// pure function from Evidence to causes and an entry in one of two tables, waiting and failed.
package diagnose
