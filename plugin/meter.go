package plugin

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// meter asks Prometheus for accelerators, and keeps which one it found.
type meter struct {
	find  func(context.Context) (*metrics.Source, error)
	query metrics.Query

	mu     sync.Mutex
	source *metrics.Source
}

// meter asks for the accelerators that pods of a namespace hold, or for all of them, with means over a window.
func (f *Factory) meter(c *client.Client, where, namespace string, window time.Duration) *meter {
	return &meter{
		find:  func(ctx context.Context) (*metrics.Source, error) { return f.prometheus(ctx, c, where) },
		query: metrics.Query{Namespace: namespace, Window: window},
	}
}

// measurement is what Prometheus answered.
type measurement struct {
	Devices []metrics.Device
	// Where says which one it was; empty when none was found.
	Where string
	// Err is why there are no devices, or, beside some, what is missing of them.
	Err error
}

// errUnheard says that Prometheus was not waited for any longer.
var errUnheard = errors.New("Prometheus did not answer in time") //nolint:staticcheck // it begins with a name

// errHalf says that it told of now only.
var errHalf = errors.New("Prometheus is slow: BUSY is of this moment, where it else is a mean") //nolint:staticcheck // it begins with a name

// lastWords is how long a question that was given up may take to say what it has.
const lastWords = 200 * time.Millisecond

// ask begins to ask. The function it returns is called when everything else is read, and waits for metricsTime at most.
func (m *meter) ask(ctx context.Context) func() measurement {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan measurement, 1)
	go func() { out <- m.measure(ctx) }()
	return func() measurement {
		defer cancel()
		select {
		case got := <-out:
			return got
		case <-time.After(metricsTime):
		}
		cancel()
		select {
		case got := <-out:
			if len(got.Devices) > 0 {
				got.Err = errHalf
				return got
			}
		case <-time.After(lastWords):
		}
		return measurement{Err: errUnheard}
	}
}

func (m *meter) measure(ctx context.Context) measurement {
	source, err := m.found(ctx)
	if err != nil {
		return measurement{Err: err}
	}
	devices, err := source.Devices(ctx, m.query)
	if err != nil && devices == nil {
		m.keep(nil) // another one may answer the next time
	}
	return measurement{devices, source.Where(), err}
}

// found is the source of the last time, else a new one.
func (m *meter) found(ctx context.Context) (*metrics.Source, error) {
	m.mu.Lock()
	source := m.source
	m.mu.Unlock()
	if source != nil {
		return source, nil
	}
	source, err := m.find(ctx)
	if err == nil {
		m.keep(source)
	}
	return source, err
}

func (m *meter) keep(source *metrics.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source = source
}

// note says what is missing and what to do about it, when held accelerators are not measured; nothing when all is well.
func (m measurement) note(held int64) []string {
	switch {
	case held == 0 || m.Where == "" && m.Err == nil: // nothing to measure, or nobody was asked
		return nil
	case errors.Is(m.Err, errUnheard):
		return []string{"Requests only: " + m.Err.Error() + "\n  try again, or name another one with --prometheus"}
	case m.Err != nil && len(m.Devices) == 0:
		return []string{"Requests only: " + tried(m.Err)}
	case m.Err != nil:
		return []string{"warning: " + m.Err.Error()}
	case len(m.Devices) == 0:
		return []string{"Requests only: Prometheus " + m.Where + " knows no GPUs\n" +
			"  it needs dcgm-exporter, or AMD's device-metrics-exporter, on the nodes; name another one with --prometheus"}
	}
	for i := range m.Devices {
		if m.Devices[i].Held() {
			return nil
		}
	}
	return []string{"Prometheus " + m.Where + " does not know which pods hold the GPUs\n" +
		"  dcgm-exporter says so with DCGM_EXPORTER_KUBERNETES=true, and needs /var/lib/kubelet/pod-resources of its node"}
}

// tried says where no Prometheus was found, one place once.
func tried(err error) string {
	lines := strings.Split(err.Error(), "\n")
	var missing *metrics.NotFoundError
	if errors.As(err, &missing) && len(missing.Tried) == 1 && len(lines) > 2 {
		lines = append(lines[:1], lines[len(lines)-1]) // the first line says it all
	}
	return strings.Join(lines, "\n")
}
