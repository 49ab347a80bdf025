package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// StartOptions say how a run is started.
type StartOptions struct {
	Set, SetFile []string
	pipeline.Selection
	// Timeout bounds the run; 0 is no bound.
	Timeout time.Duration
	// Driver is set when a Job in the cluster is to advance the run.
	Driver *Driver
	// Helper is the image of this program, and when it is pulled, for pods of servers that download their model.
	Helper           string
	HelperPullPolicy corev1.PullPolicy
	// Reason is kept in the record.
	Reason string
	// ID is the run's name after the pipeline's; empty takes a random one. A run that exists with
	// this ID is taken up instead of started, so that a command with an ID can be repeated safely.
	ID  string
	Now time.Time
}

// Prepared is a run that is ready to be created: nothing of it is in the cluster yet.
type Prepared struct {
	Record *Record
	// Source and Claim are nil when there is nothing to create.
	Source *corev1.ConfigMap
	Claim  *corev1.PersistentVolumeClaim
	driver *Driver
	// fixedID says that a run of that name is the same run, not an accident.
	fixedID bool
	// TakenUp says, after Create, that the run was there already.
	TakenUp bool
}

// runID keeps a given ID that fits, shortens another to a hash, and invents one where none is given.
func runID(id string) string {
	switch {
	case id == "":
		return utilrand.String(5)
	case len(id) <= 10 && len(validation.IsDNS1123Label(id)) == 0:
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:4])
}

// Prepare resolves a bundle into a run. It reads from the cluster only the results that the selected stages
// need of stages that they leave out.
func Prepare(ctx context.Context, c *client.Client, b *Bundle, o StartOptions) (*Prepared, error) {
	if err := b.Pack(ctx, c.Namespace); err != nil {
		return nil, err
	}
	plan, err := b.Resolve(o.Set, o.SetFile, o.Selection)
	if err != nil {
		return nil, err
	}
	rec := &Record{
		Name: plan.Pipeline + "-" + runID(o.ID), Namespace: c.Namespace,
		Created: o.Now.UTC().Truncate(time.Second), Plan: *plan, Stages: map[string]StageRecord{},
	}
	rec.Detached, rec.Reason, rec.Started = o.Driver != nil, o.Reason, o.Now.UTC()
	if rec.any(deploys) {
		rec.Helper, rec.HelperPullPolicy = o.Helper, o.HelperPullPolicy
	}
	if o.Timeout > 0 {
		deadline := rec.Created.Add(o.Timeout)
		rec.Timeout, rec.Deadline = &metav1.Duration{Duration: o.Timeout}, &deadline
	}
	if err := reuse(ctx, c, rec); err != nil {
		return nil, err
	}
	p := &Prepared{Record: rec, fixedID: o.ID != "", Source: b.SourceMap, Claim: pipeline.WorkspaceClaim(plan, c.Namespace)}
	if o.Driver != nil && rec.needsDriver() {
		p.driver = o.Driver
		if err := rec.checkDriver(); err != nil {
			return nil, err
		}
	}
	return p, p.checkFirst()
}

// checkFirst builds the Jobs that start at once, so that what is wrong with them is said before anything exists.
func (p *Prepared) checkFirst() error {
	r := Derive(p.Record, Live{}, p.Record.Created)
	for _, st := range next(r, Live{}, p.Record.Created).starts {
		if p.Record.Stage(st.stage).Kind() == pipeline.KindDeployment {
			continue
		}
		if _, err := pipeline.Job(&p.Record.Plan, p.Record.ref(), st.stage, st.child, 1, r.results()); err != nil {
			return err
		}
	}
	return nil
}

// needsDriver says whether anything of the run is left to do by a client once its first stages have started.
func (r *Record) needsDriver() bool {
	n := 0
	for i := range r.Plan.Stages {
		if s := &r.Plan.Stages[i]; s.Selected {
			n++
			if len(s.Children) > 1 || s.TTL != nil || s.Registers() || deploys(s.Stage) {
				return true
			}
		}
	}
	return n > 1
}

// reuse finds, for stages that the run leaves out, the outcomes that its own stages refer to: those of the
// newest run in which the stage succeeded.
func reuse(ctx context.Context, c *client.Client, rec *Record) error {
	missing := rec.Plan.MissingResults()
	if len(missing) == 0 {
		return nil
	}
	list, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).List(ctx, kube.ListOptions(map[string]string{
		kube.LabelKind: kube.KindRun, kube.LabelPipeline: rec.Plan.Pipeline,
	}))
	if err != nil {
		return c.Explain("look for earlier results of "+strings.Join(missing, ", "), err)
	}
	newestFirst(list.Items)
	for i := range list.Items {
		old, err := decode(&list.Items[i])
		if err != nil {
			continue // a damaged record has no results to give
		}
		for _, st := range Derive(old, Live{}, rec.Created).Now {
			sr := old.Stages[st.Name]
			// Of a stage that has breached its gates nothing is used.
			if sr.Outcome == nil || !st.State.passed() || !slices.Contains(missing, st.Name) {
				continue
			}
			rec.Stages[st.Name] = StageRecord{Attempt: sr.Attempt, Outcome: sr.Outcome, Model: sr.Model, ReusedFrom: firstOf(sr.ReusedFrom, old.Name)}
			missing = slices.DeleteFunc(missing, func(m string) bool { return m == st.Name })
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no recorded run of %s has results of %s, which the chosen stages use: run from there with: kubectl ml run --from %s",
			rec.Plan.Pipeline, strings.Join(missing, ", "), missing[0])
	}
	return nil
}

// Create puts a prepared run into the cluster: what it needs first, the record last; then its first Jobs.
// A run of which no Job could be created leaves no record behind.
func (p *Prepared) Create(ctx context.Context, c *client.Client) error {
	who := make(chan string, 1)
	go func() { who <- c.WhoAmI(ctx) }()
	if err := p.CheckCluster(ctx, c); err != nil {
		return err
	}
	if err := checkRights(ctx, c, p.needs()); err != nil {
		return err
	}
	if err := p.createNeeds(ctx, c); err != nil {
		return err
	}
	p.Record.By = <-who
	made, err := p.createRecord(ctx, c)
	if err != nil {
		return err
	}
	if err := p.firstStep(ctx, c, made); err != nil {
		if ctx.Err() == nil && !client.Transient(err) && p.discard(ctx, c) {
			return err
		}
		return goesOnByHand(err, p.Record.Name)
	}
	if p.driver != nil && p.Record.End == nil {
		return p.driver.launch(ctx, c, p.Record)
	}
	return nil
}

// firstStep starts what can start at once. Of a record that was made this moment nothing has to be read; one that
// was there before, made is nil then, may stand anywhere.
func (p *Prepared) firstStep(ctx context.Context, c *client.Client, made *corev1.ConfigMap) error {
	if made == nil {
		_, _, err := Advance(ctx, c, p.Record.Name)
		return err
	}
	o := &observation{cm: made, live: emptyLive(), run: Derive(p.Record, emptyLive(), p.Record.Created)}
	return act(ctx, c, o, next(o.run, o.live, p.Record.Created))
}

// goesOnByHand adds to err what can be done with the run that is there in spite of it.
func goesOnByHand(err error, name string) error {
	return fmt.Errorf("%w\n  the run goes on by hand with: kubectl ml resume %s", err, name)
}

// discard takes back the record of a run that could not start, unless a Job of it is there.
func (p *Prepared) discard(ctx context.Context, c *client.Client) bool {
	o, err := observe(ctx, c, p.Record.Name, nil)
	if err != nil || !nothingStarted(o.run, step{}) {
		return false
	}
	unchanged := metav1.Preconditions{UID: &o.cm.UID, ResourceVersion: &o.cm.ResourceVersion}
	return c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, o.cm.Name, metav1.DeleteOptions{Preconditions: &unchanged}) == nil
}

func (p *Prepared) createNeeds(ctx context.Context, c *client.Client) error {
	if p.Source != nil {
		if _, err := createSource(ctx, c, p.Source, nil); err != nil {
			return err
		}
	}
	if p.Claim != nil {
		_, err := createClaim(ctx, c, p.Claim, nil)
		return err
	}
	return p.checkClaim(ctx, c)
}

// checkClaim sees that a workspace claim is there which the file does not say how to make.
func (p *Prepared) checkClaim(ctx context.Context, c *client.Client) error {
	ws := p.Record.Plan.Workspace
	if ws == nil {
		return nil
	}
	_, err := c.Kube.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, ws.Claim, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the workspace claim %s does not exist in namespace %s: create it, or give spec.workspace.size to have it made", ws.Claim, c.Namespace)
	}
	if err != nil && !apierrors.IsForbidden(err) {
		return c.Explain("read the workspace claim "+ws.Claim, err)
	}
	return nil
}

// createClaim makes the workspace claim unless it is there.
func createClaim(ctx context.Context, c *client.Client, claim *corev1.PersistentVolumeClaim, dryRun []string) (created bool, err error) {
	claims := c.Kube.CoreV1().PersistentVolumeClaims(c.Namespace)
	_, err = claims.Create(ctx, claim, metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
	if apierrors.IsForbidden(err) {
		// Who may not make claims can still use one that is there.
		if _, getErr := claims.Get(ctx, claim.Name, metav1.GetOptions{}); getErr == nil {
			return false, nil
		}
	}
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	return err == nil, c.Explain("create the workspace claim "+claim.Name, err)
}

// createSource puts the source in place; its name is its content's hash, so one that exists is the same.
func createSource(ctx context.Context, c *client.Client, cm *corev1.ConfigMap, dryRun []string) (created bool, err error) {
	_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(ctx, cm, metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	return err == nil, c.Explain("store the source folder as configmap "+cm.Name, err)
}

// createRecord makes the record and returns its object, or nil when a run with the given ID is there already.
func (p *Prepared) createRecord(ctx context.Context, c *client.Client) (*corev1.ConfigMap, error) {
	rec := p.Record
	for range 5 {
		cm := &corev1.ConfigMap{}
		if err := rec.encode(cm); err != nil {
			return nil, err
		}
		made, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(ctx, cm, metav1.CreateOptions{FieldManager: kube.FieldManager})
		if apierrors.IsAlreadyExists(err) && p.fixedID {
			_, there, err := getRecord(ctx, c, rec.Name)
			if err == nil {
				p.Record, p.TakenUp = there, true
			}
			return nil, err
		}
		if apierrors.IsAlreadyExists(err) {
			rec.Name = rec.Plan.Pipeline + "-" + utilrand.String(5)
			continue
		}
		if err != nil {
			return nil, c.Explain("record run "+rec.Name, err)
		}
		rec.UID, rec.Created = string(made.UID), made.CreationTimestamp.Time
		return made, nil
	}
	return nil, fmt.Errorf("no free name for a run of %s after five tries: try again", rec.Plan.Pipeline)
}
