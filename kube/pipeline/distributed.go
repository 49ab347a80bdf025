package pipeline

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

const (
	// jobSetWorkers is the name of the replicated Job of our JobSets, jobSetRanks what their pods' names have before
	// the rank: a JobSet may have more than one such Job, ours has one.
	jobSetWorkers = "workers"
	jobSetRanks   = "-" + jobSetWorkers + "-0"
	// podSuffix is how much a JobSet's rules want free behind a pod's host name.
	podSuffix = len("-abcde")
)

// Distributed says whether the stage is several pods that work together.
func (s Stage) Distributed() bool { return s.Replicas > 0 }

// UsesJobSet says whether the stage is a JobSet and not a Job.
func (s Stage) UsesJobSet() bool { return s.Distributed() && s.Engine == EngineJobSet }

// UsesSSH says whether the pods of the stage log in to each other, for which the run makes a key.
func (s Stage) UsesSSH() bool { return s.Distributed() && s.Framework == FrameworkMPI }

// gang is how the ranks of one execution of a distributed stage find each other.
type gang struct {
	// ranks is how many there are, procs how many processes a pod is meant for: one for each of its GPUs.
	ranks, procs int
	// prefix is what the host names of the pods have before their rank, service the domain in which they stand.
	prefix, service string
	launch
}

// gangOf is the gang of a stage's Job or JobSet of that name.
func gangOf(s *PlannedStage, name string) *gang {
	g := &gang{ranks: s.Replicas, procs: 1, prefix: name, service: name, launch: launches[s.framework()]}
	if s.UsesJobSet() {
		g.prefix += jobSetRanks
	}
	if s.GPUs != nil && s.GPUs.Count > 1 {
		g.procs = int(s.GPUs.Count)
	}
	return g
}

func (s Stage) framework() Framework {
	if s.Framework == "" {
		return FrameworkNone
	}
	return s.Framework
}

// host is the name of a rank, as every pod of the namespace can resolve it.
func (g *gang) host(rank int) string { return g.prefix + "-" + strconv.Itoa(rank) + "." + g.service }

// leader is where rank 0 is met.
func (g *gang) leader() string { return g.host(0) + ":" + strconv.Itoa(g.port()) }

// each is what format makes of every host, joined.
func (g *gang) each(format string, between string) string {
	hosts := make([]string, g.ranks)
	for i := range hosts {
		hosts[i] = fmt.Sprintf(format, g.host(i))
	}
	return strings.Join(hosts, between)
}

// policies make a Job one gang: all ranks run at once, each has its index, and a rank that fails more often than it may
// ends them all. Where rank 0 leads, its success is the Job's.
func (g *gang) policies(spec *batchv1.JobSpec, jobSet bool) {
	ranks, none := int32(g.ranks), int32(0)
	mode := batchv1.IndexedCompletion
	spec.CompletionMode, spec.Completions, spec.Parallelism = &mode, &ranks, &ranks
	if jobSet {
		// The first failure ends the Job, and the JobSet starts it anew: it counts the tries. What the infrastructure
		// does ends the Job with a reason of its own, which the JobSet does not count.
		spec.BackoffLimit = &none
		spec.PodFailurePolicy.Rules[0].Action = batchv1.PodFailurePolicyActionFailJob
	} else {
		spec.BackoffLimitPerIndex, spec.MaxFailedIndexes, spec.BackoffLimit = spec.BackoffLimit, &none, nil
	}
	if g.leads {
		spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: new("0")}}}
	}
}

// Service is the headless Service by which the ranks of a distributed stage's Job find each other. A JobSet makes its own.
func Service(j *batchv1.Job) *corev1.Service {
	labels := merged(j.Labels)
	delete(labels, kube.LabelQueue)
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: j.Spec.Template.Spec.Subdomain, Namespace: j.Namespace, Labels: labels},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Selector:  map[string]string{batchv1.JobNameLabel: j.Name},
			// Ranks meet before any of them is ready.
			PublishNotReadyAddresses: true,
		},
	}
}

// affinity places the replicas relative to each other.
func (b builder) affinity() *corev1.Affinity {
	t := b.stage.Topology
	if t == nil {
		return nil
	}
	a := &corev1.Affinity{}
	// The pods of this execution and no others.
	mates := map[string]string{}
	for _, key := range []string{kube.LabelRun, kube.LabelStage, kube.LabelChild, kube.LabelAttempt} {
		if v := b.labels[key]; v != "" {
			mates[key] = v
		}
	}
	terms := func(domain string) ([]corev1.PodAffinityTerm, []corev1.WeightedPodAffinityTerm) {
		term := corev1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{MatchLabels: mates}, TopologyKey: topologyKey(domain)}
		switch {
		case domain == "":
			return nil, nil
		case t.Required:
			return []corev1.PodAffinityTerm{term}, nil
		}
		return nil, []corev1.WeightedPodAffinityTerm{{Weight: 100, PodAffinityTerm: term}}
	}
	if must, may := terms(t.Together); t.Together != "" {
		a.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: must, PreferredDuringSchedulingIgnoredDuringExecution: may}
	}
	if must, may := terms(t.Spread); t.Spread != "" {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: must, PreferredDuringSchedulingIgnoredDuringExecution: may}
	}
	return a
}

// topologyKey is the label of nodes that a domain is named by.
func topologyKey(domain string) string {
	switch domain {
	case "host":
		return corev1.LabelHostname
	case "zone":
		return corev1.LabelTopologyZone
	}
	return domain
}

// tfConfig is the cluster as TensorFlow reads it from TF_CONFIG; the rank stands in it as a variable.
func (g *gang) tfConfig() string {
	worker := strings.Split(g.each("%s:"+strconv.Itoa(g.port()), ","), ",")
	cluster, err := json.Marshal(map[string]any{"worker": worker})
	if err != nil {
		return "" // strings are always JSON
	}
	return `{"cluster":` + string(cluster) + `,"task":{"type":"worker","index":$(RANK)}}`
}
