package registry

import "time"

// Event is one line of a model's history.
type Event struct {
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	Action Action    `json:"action"`
	// Version is the one that the event is about; 0 for the model as a whole.
	Version int `json:"version,omitempty"`
	// Alias moved from one version to Version; From is 0 when it was new, Version is 0 when it was removed.
	Alias string `json:"alias,omitempty"`
	From  int    `json:"from,omitempty"`
	// Comment is the person's own words.
	Comment string `json:"comment,omitempty"`
	// Target is what serves the version, such as deployment/house-prices; with Namespace and UID.
	Target    string `json:"target,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Strategy is how traffic moved, Image what the pods run with its digest, Digest the artifact's, Run the run that did it.
	Strategy string `json:"strategy,omitempty"`
	Image    string `json:"image,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Run      string `json:"run,omitempty"`
	// Skipped are versions that a rollback passed over, because they were deleted, archived or rejected.
	Skipped []int `json:"skipped,omitempty"`
	// Origin is where the line was imported from, as NAMESPACE@SERVER. Such a line is evidence of another place: it moved
	// nothing here, so rollbacks and audits pass over it. Empty for what happened here.
	Origin string `json:"origin,omitempty"`
}

// Action is what an event did.
type Action string

// The actions. A deployment is one Deploying when it begins and one Deployed, Aborted or Failed when it ends.
const (
	Registered Action = "registered"
	Imported   Action = "imported"
	// Moved sets or removes an alias; Promoted and RolledBack move one with a purpose.
	Moved      Action = "alias"
	Promoted   Action = "promoted"
	RolledBack Action = "rolled-back"
	Approved   Action = "approved"
	Rejected   Action = "rejected"
	Annotated  Action = "annotated"
	Archived   Action = "archived"
	Restored   Action = "restored"
	Deleted    Action = "deleted"
	Deploying  Action = "deploying"
	Deployed   Action = "deployed"
	Aborted    Action = "aborted"
	Failed     Action = "failed"
	// Removed ends the serving of a version: its workload was deleted.
	Removed Action = "removed"
)
