package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

const (
	// probeTimeout is how long a candidate may take to answer, probeGrace how long a better one is waited for when
	// another has answered.
	probeTimeout = 8 * time.Second
	probeGrace   = time.Second
	// maxProbes is how many candidates are asked.
	maxProbes = 6
	// listTimeout bounds a list of Services.
	listTimeout = 15 * time.Second
	// keptTimeout is how long the one of the last time may take before others are looked for.
	keptTimeout = 3 * time.Second
)

// None as Options.URL asks for no Prometheus.
const None = "none"

// ErrNone says that no Prometheus was asked for.
var ErrNone = errors.New("no Prometheus is asked: --prometheus none")

// Options say which Prometheus to ask.
type Options struct {
	// URL names it: http(s)://[USER:PASSWORD@]HOST[:PORT][/PATH], or a Service as NAMESPACE/SERVICE[:PORT][/PATH], which
	// is asked through the API server. Empty: it is looked for. None: there is none.
	URL string
	// Kept is tried first when URL is empty; nil for none.
	Kept *Choice
	// As is who asks.
	As Credentials
}

// Attempt is a place where no Prometheus answered.
type Attempt struct {
	// Where is a place as Source.Where says it, or what was looked through.
	Where string
	Err   error
}

// NotFoundError says that no Prometheus was found, and why not.
type NotFoundError struct {
	// Tried are the places that were asked, the best first.
	Tried []Attempt
	// Left counts the candidates that were not asked any more.
	Left int
}

// Error says what was tried on lines of its own, and what to do. Its first line stands for itself.
func (e *NotFoundError) Error() string {
	var b strings.Builder
	b.WriteString(e.Short())
	for _, a := range e.Tried {
		fmt.Fprintf(&b, "\n  %s: %s", a.Where, strings.ReplaceAll(a.Err.Error(), "\n", "\n  "))
	}
	if e.Left > 0 {
		fmt.Fprintf(&b, "\n  %d more that look like one were not asked", e.Left)
	}
	b.WriteString("\n  name one with --prometheus URL or NAMESPACE/SERVICE:PORT, or label its Service " + OptIn + "=true")
	return b.String()
}

// Short is one line.
func (e *NotFoundError) Short() string {
	switch len(e.Tried) {
	case 0:
		return "no Prometheus found: no Service looks like one"
	case 1:
		what, _, _ := strings.Cut(e.Tried[0].Err.Error(), "\n")
		return "no Prometheus found: " + e.Tried[0].Where + ": " + what
	}
	return fmt.Sprintf("no Prometheus found in %d places", len(e.Tried))
}

// Unwrap gives what each place said.
func (e *NotFoundError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, a := range e.Tried {
		errs[i] = a.Err
	}
	return errs
}

// Find finds a Prometheus that answers: the one that o names, else a Service with the label OptIn, else the best of the
// Services that look like common installations. When there is none the error is a *NotFoundError.
func Find(ctx context.Context, c *client.Client, o Options) (*Source, error) {
	switch o.URL {
	case "":
	case None:
		return nil, ErrNone
	default:
		named, err := explicit(ctx, c, o.URL)
		if err != nil {
			return nil, err
		}
		return firstOf(ctx, c, named, nil, o.As)
	}
	if o.Kept != nil {
		if s := o.kept(ctx, c); s != nil {
			return s, nil
		}
	}
	services, tried, err := services(ctx, c)
	if err != nil {
		return nil, err
	}
	return firstOf(ctx, c, candidates(services, c.Namespace), tried, o.As)
}

// kept is the one that was chosen before, when it still answers.
func (o Options) kept(ctx context.Context, c *client.Client) *Source {
	t, ok := o.Kept.candidate()
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keptTimeout)
	defer cancel()
	return t.probe(ctx, c, o.As).source
}

// Finding is a place that was asked, or could have been.
type Finding struct {
	// Where and Why are as of Source.
	Where string `json:"where"`
	Why   string `json:"why,omitempty"`
	// Chosen says that this one is asked.
	Chosen bool `json:"chosen"`
	// Targets is how many targets it watches; nil when it does not answer.
	Targets *int `json:"targets,omitempty"`
	// Took is how long it took to answer, in seconds.
	Took float64 `json:"tookSeconds,omitempty"`
	// Problem is why it does not answer, or was not asked.
	Problem string `json:"problem,omitempty"`
}

// maxFindings is how many places Survey asks.
const maxFindings = 24

// Survey asks all that Find would try, in its order, and says what each answers and which one Find takes.
func Survey(ctx context.Context, c *client.Client, o Options) ([]Finding, error) {
	var list []candidate
	var out []Finding
	switch o.URL {
	case None:
		return nil, ErrNone
	case "":
		if o.Kept != nil {
			if t, ok := o.Kept.candidate(); ok {
				list = append(list, t)
			}
		}
		services, tried, err := services(ctx, c)
		if err != nil {
			return nil, err
		}
		for _, a := range tried {
			out = append(out, Finding{Where: a.Where, Problem: a.Err.Error()})
		}
		for _, t := range candidates(services, c.Namespace) {
			if len(list) == 0 || list[0].where != t.where {
				list = append(list, t)
			}
		}
	default:
		named, err := explicit(ctx, c, o.URL)
		if err != nil {
			return nil, err
		}
		list = named
	}
	outcomes, found := make([]outcome, min(len(list), maxFindings)), make([]Finding, len(list))
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxConcurrent)
	for i := range list {
		found[i] = Finding{Where: list[i].where, Why: list[i].why}
		if i >= len(outcomes) {
			found[i].Problem = "not asked: too many look like a Prometheus"
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			start := time.Now()
			outcomes[i] = list[i].probe(ctx, c, o.As)
			found[i].Took = time.Since(start).Seconds()
		})
	}
	wg.Wait()
	chosen, _ := best(outcomes)
	if len(outcomes) > 0 && o.Kept != nil && o.URL == "" && outcomes[0].source != nil {
		chosen = outcomes[0].source
	}
	for i, r := range outcomes {
		if r.err != nil {
			found[i].Problem = r.err.Error()
			continue
		}
		found[i].Chosen, found[i].Targets = r.source == chosen, &r.targets
	}
	return append(found, out...), ctx.Err()
}

// services lists the Services of the cluster, or of the namespaces where a Prometheus may be when that is forbidden.
func services(ctx context.Context, c *client.Client) ([]corev1.Service, []Attempt, error) {
	list := func(namespace string) ([]corev1.Service, error) {
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		// Any state of the API server's cache will do.
		l, err := c.Kube.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		return l.Items, nil
	}
	all, err := list(metav1.NamespaceAll)
	if !apierrors.IsForbidden(err) {
		return all, nil, c.Explain("list the services to find Prometheus", err)
	}
	where := namespaces()
	if !slices.Contains(where, c.Namespace) {
		where = append(where, c.Namespace)
	}
	found := make([][]corev1.Service, len(where))
	errs := make([]error, len(where))
	var wg sync.WaitGroup
	for i, namespace := range where {
		wg.Go(func() { found[i], errs[i] = list(namespace) })
	}
	wg.Wait()
	var closed []string
	for i := range where {
		switch {
		case apierrors.IsForbidden(errs[i]):
			closed = append(closed, where[i])
		case errs[i] != nil:
			return nil, nil, c.Explain("list the services to find Prometheus", errs[i])
		}
	}
	var tried []Attempt
	if len(closed) > 0 {
		tried = []Attempt{{Where: "the services of the cluster, and of " + strings.Join(closed, ", "), Err: c.Explain("", err)}}
	}
	return slices.Concat(found...), tried, nil
}

// outcome is what a candidate said.
type outcome struct {
	source *Source
	// empty says that it answers and watches nothing.
	empty   bool
	targets int
	err     error
	done    bool
}

// firstOf asks the candidates all at once and takes the best of those that answer.
func firstOf(ctx context.Context, c *client.Client, list []candidate, tried []Attempt, as Credentials) (*Source, error) {
	left := max(len(list)-maxProbes, 0)
	list = list[:len(list)-left]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		i int
		outcome
	}
	replies := make(chan reply, len(list))
	for i := range list {
		go func() { replies <- reply{i, list[i].probe(ctx, c, as)} }()
	}
	outcomes := make([]outcome, len(list))
	var grace <-chan time.Time
	for open := len(list); open > 0; open-- {
		select {
		case r := <-replies:
			outcomes[r.i] = r.outcome
		case <-grace:
			open = 0
		}
		best, final := best(outcomes)
		switch {
		case best != nil && final:
			return best, nil
		case best != nil && grace == nil:
			grace = time.After(probeGrace)
		}
	}
	if best, _ := best(outcomes); best != nil {
		return best, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	for i, o := range outcomes {
		tried = append(tried, Attempt{Where: list[i].where, Err: o.err})
	}
	return nil, &NotFoundError{Tried: tried, Left: left}
}

// best is the first that answers with something, else the first that answers; final says that no answer that is still
// to come could be better.
func best(outcomes []outcome) (found *Source, final bool) {
	final = true
	for i := range outcomes {
		o := &outcomes[i]
		switch {
		case !o.done:
			final = false
		case o.err != nil:
		case !o.empty:
			return o.source, final
		case found == nil:
			found = o.source
		}
	}
	return found, final
}

// probe asks a candidate how many targets it watches.
func (t *candidate) probe(ctx context.Context, c *client.Client, as Credentials) outcome {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	s, err := t.open(c, as)
	if err != nil {
		return outcome{err: err, done: true}
	}
	// Not `up` itself, which has thousands of series in a large cluster.
	v, err := s.vector(ctx, "count(up)")
	var partial *PartialError
	if err != nil && !errors.As(err, &partial) {
		return outcome{err: bare(err), done: true}
	}
	targets := 0
	if len(v) > 0 {
		targets = int(v[0].Value)
	}
	return outcome{source: s, empty: len(v) == 0, targets: targets, done: true}
}

// bare is an error without the words on what was being done, which stand beside it already.
func bare(err error) error {
	var e *client.Error
	if errors.As(err, &e) {
		return &client.Error{What: e.What, Hint: e.Hint, Err: err}
	}
	return err
}
