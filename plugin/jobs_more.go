package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// more is what is known of works beside their objects.
type more struct {
	// usage are devices by namespace/pod; usageErr is why there are none.
	usage    map[string][]metrics.Device
	usageErr error
	// progress is by the UIDs of works.
	progress map[string]*job.Progress
}

// rows joins works with what else is known of them.
func (m more) rows(works []*fleet.Work, now time.Time) []*views.JobRow {
	rows := make([]*views.JobRow, len(works))
	for i, w := range works {
		r := &views.JobRow{Work: w, Log: m.progress[w.UID], Now: now}
		if len(m.usage) > 0 && !w.Final() {
			var devices []metrics.Device
			for _, p := range w.Pods {
				devices = append(devices, m.usage[p.Namespace+"/"+p.Name]...)
			}
			r.Usage = metrics.UsageOf(devices)
		}
		rows[i] = r
	}
	return rows
}

// askUsage asks Prometheus for the accelerators while the caller reads other things, when they are wanted.
func (f *Factory) askUsage(ctx context.Context, c *client.Client, o jobsOptions) func() measurement {
	if !o.details() {
		return func() measurement { return measurement{} }
	}
	return f.meter(c, o.Prometheus, o.fleet(c).Namespace, 0).ask(ctx)
}

// moreOf reads the ends of logs while Prometheus answers. Neither is waited for longer than a person would.
func (f *Factory) moreOf(ctx context.Context, c *client.Client, o jobsOptions, works []*fleet.Work, usage func() measurement) more {
	if !o.details() || len(works) == 0 {
		return more{}
	}
	logs := make(chan map[string]*job.Progress, 1)
	go func() { logs <- fleet.Progress(ctx, c, works, logsTime) }()
	a := usage()
	m := more{usage: metrics.ByPod(a.Devices), usageErr: a.Err, progress: <-logs}
	if len(a.Devices) == 0 && a.Err == nil {
		m.usageErr = errors.New("Prometheus " + a.Where + " knows no accelerators: is an exporter such as dcgm-exporter scraped?")
	}
	return m
}
