package diagnose

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

const exceededQuota = `Error creating: pods "train-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=3, limited: requests.nvidia.com/gpu=4`

// Messages of the admission plugins of Kubernetes, as the Job controller passes them on.
func TestRefused(t *testing.T) {
	refused := func(message string) *Evidence {
		return waits(cluster(node("n1", 8))).event("job/train", "FailedCreate", "job-controller", message)
	}
	forbidden := `Error creating: pods "train-x" is forbidden: `
	for name, f := range map[string]finding{
		"quota": {refused(exceededQuota), "QuotaExceeded", Certain, []string{
			"quota gpus is exceeded: requests.nvidia.com/gpu: it asks for 2, 3 of 4 are used", "kubectl describe resourcequota gpus", "kubectl ml jobs", "job-controller of job/train (FailedCreate, 60s ago, 3 times)",
		}},
		"quota that wants requests": {refused(forbidden + "failed quota: compute: must specify limits.cpu for: main; limits.memory for: main"), "QuotaNeedsRequests", Certain, []string{"limits.memory for: main"}},
		"no quota for the class":    {refused(forbidden + "insufficient quota to match these scopes: [{PriorityClass In [high]}]"), "QuotaMissing", Certain, nil},
		"limit range":               {refused(forbidden + "maximum memory usage per Container is 8Gi, but limit is 64Gi"), "LimitRangeViolated", Certain, []string{"maximum memory usage per Container is 8Gi, but limit is 64Gi"}},
		"pod security":              {refused(forbidden + `violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false)`), "PodSecurityViolated", Certain, []string{"restricted:latest", "allowPrivilegeEscalation"}},
		"service account":           {refused(forbidden + `error looking up service account team/trainer: serviceaccount "trainer" not found`), "ServiceAccountMissing", Certain, []string{"kubectl create serviceaccount trainer"}},
		"priority class":            {refused(forbidden + "no PriorityClass with name urgent was found"), "PriorityClassMissing", Certain, []string{"urgent"}},
		"runtime class":             {refused(forbidden + `pod rejected: RuntimeClass "nvidia" not found`), "RuntimeClassMissing", Certain, nil},
		"webhook":                   {refused(`Error creating: admission webhook "validate.kyverno.svc" denied the request: label team is required`), "AdmissionDenied", Certain, []string{"label team is required"}},
		"policy":                    {refused(forbidden + "ValidatingAdmissionPolicy 'labels' with binding 'all' denied request: label team is required"), "AdmissionDenied", Certain, []string{"labels refuses"}},
		"webhook is down":           {refused(`Error creating: Internal error occurred: failed calling webhook "m.example.com": Post "https://x": dial tcp: connection refused`), "WebhookDown", Certain, nil},
		"something new":             {refused("Error creating: pods is forbidden: the moon is full"), "Refused", Certain, []string{"the moon is full"}},
		"quota without an event": {
			func() *Evidence {
				e := waits(cluster(node("n1", 8)))
				e.Template = &pod("x", "nvidia.com/gpu", "2").Spec
				e.Quotas = []corev1.ResourceQuota{{ObjectMeta: metav1.ObjectMeta{Name: "gpus"}, Status: corev1.ResourceQuotaStatus{Hard: resources("requests.nvidia.com/gpu", "4"), Used: resources("requests.nvidia.com/gpu", "3")}}}
				return e
			}(), "QuotaExceeded", Likely, []string{"it asks for 2, 3 of 4 are used"},
		},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

func claimed(p *corev1.Pod) *corev1.Pod {
	const name = "data"
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}})
	return p
}

func claim(phase corev1.PersistentVolumeClaimPhase, class *string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}}
	c.Spec.StorageClassName, c.Spec.AccessModes = class, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	c.Spec.Resources.Requests = resources("storage", "100Gi")
	c.Status.Phase = phase
	return c
}

func class(provisioner string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: provisioner, VolumeBindingMode: &mode}
}

func volume(name, size string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.Capacity, v.Spec.AccessModes = resources("storage", size), []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	return v
}

func TestVolumes(t *testing.T) {
	const unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
	with := func(message string, c Claim) *Evidence {
		e := waits(cluster(node("n1", 8)), told(claimed(pod("train-0")), message))
		e.Claims["data"] = c
		return e
	}
	for name, f := range map[string]finding{
		"not found": {with(`0/1 nodes are available: persistentvolumeclaim "data" not found. not found`, Claim{}), "ClaimNotFound", Certain, []string{"its claim data does not exist"}},
		"no class":  {with(unbound, Claim{Claim: claim(corev1.ClaimPending, nil)}), "NoStorageClass", Certain, []string{"100Gi"}},
		"class that does not exist": {
			with(unbound, Claim{Claim: claim(corev1.ClaimPending, ptr.To("fats"))}).event("persistentvolumeclaim/data", "ProvisioningFailed", "persistentvolume-controller", `storageclass.storage.k8s.io "fats" not found`), "StorageClassNotFound", Certain, []string{"fats"},
		},
		"no volume fits": {
			with(unbound, Claim{Claim: claim(corev1.ClaimPending, ptr.To("fast")), Class: class("kubernetes.io/no-provisioner", storagev1.VolumeBindingImmediate), Free: []*corev1.PersistentVolume{volume("pv-1", "20Gi")}}), "NoVolume", Certain,
			[]string{"volume pv-1 does not fit: it has 20Gi"},
		},
		"provisioner fails": {
			with(unbound, Claim{Claim: claim(corev1.ClaimPending, ptr.To("fast")), Class: class("ebs.csi.aws.com", storagev1.VolumeBindingImmediate)}).event("persistentvolumeclaim/data", "ProvisioningFailed", "ebs.csi.aws.com", "VolumeLimitExceeded"), "ProvisioningFailed", Certain, []string{"VolumeLimitExceeded"},
		},
		"provisioner is slow": {
			with(unbound, Claim{Claim: claim(corev1.ClaimPending, ptr.To("fast")), Class: class("ebs.csi.aws.com", storagev1.VolumeBindingImmediate)}), "ProvisioningSlow", Likely, []string{"ebs.csi.aws.com"},
		},
		"waits for its pod, which waits for GPUs": {
			func() *Evidence {
				e := waits(cluster(node("n1", 8)).holds("a", "n1", 8), told(claimed(pod("train-0", "nvidia.com/gpu", "1")), "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
				e.Claims["data"] = Claim{Claim: claim(corev1.ClaimPending, ptr.To("fast")), Class: class("ebs.csi.aws.com", storagev1.VolumeBindingWaitForFirstConsumer)}
				return e
			}(), "AcceleratorsTaken", Certain, []string{"possible ClaimWaitsForPod"},
		},
		"volume is elsewhere": {
			func() *Evidence {
				v := volume("pv-1", "100Gi")
				v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}}}}}}
				return with("0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.", Claim{Claim: claim(corev1.ClaimBound, ptr.To("fast")), Volume: v})
			}(), "VolumeElsewhere", Certain, []string{"volume pv-1 cannot be used there"},
		},
		"lost": {with("", Claim{Claim: claim(corev1.ClaimLost, nil)}), "VolumeMissing", Certain, nil},
		"attached elsewhere": {
			waits(nil, onNode(claimed(pod("train-0")), "ContainerCreating", "")).event("pod/train-0", "FailedAttachVolume", "attachdetach-controller", `Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can't be attached to another`), "VolumeInUse", Certain, []string{"kubectl get volumeattachments"},
		},
		"in use by a named pod": {
			func() *Evidence {
				user := claimed(pod("notebook-0"))
				user.Spec.NodeName, user.Status.Phase = "n7", corev1.PodRunning
				e := waits(nil, onNode(claimed(pod("train-0")), "ContainerCreating", "")).event("pod/train-0", "FailedAttachVolume", "attachdetach-controller", `Waiting for detach for volume "pvc-1" : Volume is already exclusively attached to one node, waiting on detach before it can be attached to another node`)
				e.Claims["data"] = Claim{Claim: claim(corev1.ClaimBound, nil), UsedBy: []*corev1.Pod{user}}
				return e
			}(), "ClaimInUse", Certain, []string{"pod notebook-0 on n7"},
		},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

// Messages of kubelet and containerd.
func TestContainersThatDoNotStart(t *testing.T) {
	stuck := func(reason, message string) *Evidence { return waits(nil, onNode(pod("train-0"), reason, message)) }
	backOff := func(said string) *Evidence {
		return stuck("ImagePullBackOff", `Back-off pulling image "train:1": ErrImagePull: `+said)
	}
	const resolve = `rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/library/train:1": failed to resolve reference "docker.io/library/train:1": `
	for name, f := range map[string]finding{
		"secret":         {stuck("CreateContainerConfigError", `secret "hf-token" not found`), "SecretMissing", Certain, []string{"kubectl create secret generic hf-token"}},
		"secret key":     {stuck("CreateContainerConfigError", "couldn't find key token in Secret team/hf"), "SecretKeyMissing", Certain, []string{"Secret hf has no key token", "kubectl edit secret hf"}},
		"config map key": {stuck("CreateContainerConfigError", "couldn't find key lr in ConfigMap team/params"), "ConfigMapKeyMissing", Certain, nil},
		"mounted": {
			stuck("ContainerCreating", "").event("pod/train-0", "FailedMount", "kubelet", `MountVolume.SetUp failed for volume "cfg" : configmap "params" not found`), "ConfigMapMissing", Certain, []string{"kubectl create configmap params"},
		},
		"mounted key": {
			stuck("ContainerCreating", "").event("pod/train-0", "FailedMount", "kubelet", `MountVolume.SetUp failed for volume "cfg" : configmap references non-existent config key: train.yaml`), "ConfigMapKeyMissing", Certain, []string{"train.yaml"},
		},
		"nobody said it": {
			func() *Evidence {
				p := onNode(pod("train-0"), "ContainerCreating", "")
				p.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}}}
				e := waits(nil, p)
				e.Exists["secret/creds"] = false
				return e
			}(), "SecretMissing", Likely, nil,
		},
		"mount fails":      {stuck("ContainerCreating", "").event("pod/train-0", "FailedMount", "kubelet", `MountVolume.SetUp failed for volume "nfs" : mount failed: exit status 32`), "MountFailed", Likely, nil},
		"no sandbox":       {stuck("ContainerCreating", "").event("pod/train-0", "FailedCreatePodSandBox", "kubelet", "plugin type=\"calico\" failed"), "PodSandboxFailed", Certain, nil},
		"pulls":            {stuck("ContainerCreating", "").event("pod/train-0", "Pulling", "kubelet", `Pulling image "train:1"`), "PullingImage", Likely, []string{"60s"}},
		"slow":             {stuck("ContainerCreating", ""), "StartingSlowly", Possible, []string{"on node n1 for 10m"}},
		"image not found":  {backOff(resolve + "docker.io/library/train:1: not found"), "ImageNotFound", Certain, []string{"image train:1 does not exist"}},
		"unauthorized":     {backOff(resolve + "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"), "ImageUnauthorized", Certain, []string{"names no imagePullSecrets", "kubectl create secret docker-registry"}},
		"unreachable":      {backOff(resolve + `failed to do request: Head "https://registry:5000/v2/": dial tcp: lookup registry: no such host`), "RegistryUnreachable", Certain, nil},
		"architecture":     {backOff("no match for platform in manifest: not found"), "ImageWrongArchitecture", Certain, nil},
		"rate":             {backOff("429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit"), "ImageRateLimited", Certain, nil},
		"disk":             {backOff("write /var/lib/containerd/x: no space left on device"), "NodeDiskFull", Certain, []string{"kubectl describe node n1"}},
		"name":             {stuck("InvalidImageName", `Failed to apply default image tag "Train:1": couldn't parse image name`), "InvalidImageName", Certain, nil},
		"never":            {stuck("ErrImageNeverPull", `Container image "train:1" is not present with pull policy of Never`), "ImageNotOnNode", Certain, nil},
		"told by an event": {stuck("ImagePullBackOff", `Back-off pulling image "train:1"`).event("pod/train-0", "Failed", "kubelet", `Failed to pull image "train:1": `+resolve+"docker.io/library/train:1: not found"), "ImageNotFound", Certain, nil},
		"init container": {
			func() *Evidence {
				p := onNode(pod("train-0"), "PodInitializing", "")
				p.Spec.InitContainers = []corev1.Container{{Name: "fetch"}}
				p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "fetch", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: ago(5 * time.Minute)}}}}
				return waits(nil, p)
			}(), "InitRunning", Certain, []string{"fetch still runs, for 5m", "kubectl logs train-0 -c fetch"},
		},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

func TestHeld(t *testing.T) {
	suspended := func(e *Evidence) *Evidence {
		e.Work.State = job.Suspended
		return e.job(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) })
	}
	cron := func(change func(*batchv1.CronJob)) *Evidence {
		e := waits(nil)
		e.Work.Kind, e.CronJob = "CronJob", &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "nightly"}, Spec: batchv1.CronJobSpec{Schedule: "0 13 * * *"}}
		change(e.CronJob)
		return e
	}
	for name, f := range map[string]finding{
		"suspended": {suspended(waits(nil)), "Suspended", Certain, []string{"kubectl ml resume job/train", "suspended for 60m"}},
		"scaled to zero": {func() *Evidence {
			e := waits(nil)
			e.Work.Kind, e.Work.State, e.Work.Reason = "Deployment", job.Suspended, "ScaledToZero"
			return e
		}(), "ScaledToZero", Certain, []string{"kubectl ml scale deployment/train --replicas 1"}},
		"foreign":        {waits(nil).job(func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("kueue.x-k8s.io/multikueue") }), "ForeignManager", Likely, nil},
		"back-off":       {waits(nil, ended(pod("train-0"), 1, "Error", 5*time.Second)).job(func(j *batchv1.Job) { j.Status.Failed = 2 }), "ProgramFailed", Certain, []string{"2 failures of 6 allowed", "the next pod starts in about 15s", "certain BackOff"}},
		"cron suspended": {cron(func(c *batchv1.CronJob) { c.Spec.Suspend = ptr.To(true) }), "Suspended", Certain, []string{"kubectl patch cronjob/nightly"}},
		"cron waits":     {cron(func(*batchv1.CronJob) {}), "WaitsForSchedule", Certain, []string{"in 60m (2026-03-01T13:00:00Z)", "kubectl create job nightly-now --from=cronjob/nightly"}},
		"cron missed":    {cron(func(c *batchv1.CronJob) { c.Status.LastScheduleTime = ptr.To(ago(47 * time.Hour)) }), "SchedulesMissed", Likely, nil},
		"cron forbids":   {cron(func(*batchv1.CronJob) {}).event("cronjob/nightly", "JobAlreadyActive", "cronjob-controller", "Not starting job because prior execution is running and concurrency policy is Forbid"), "EarlierRunActive", Certain, nil},
		"cron zone":      {cron(func(c *batchv1.CronJob) { c.Spec.TimeZone = ptr.To("Mars/Olympus") }).event("cronjob/nightly", "UnknownTimeZone", "cronjob-controller", `invalid timeZone: "Mars/Olympus"`), "TimeZoneUnknown", Certain, nil},
		"autoscaler": {
			waits(nil, pod("train-0")).event("pod/train-0", "TriggeredScaleUp", "cluster-autoscaler", "pod triggered scale-up: [{gpu-pool 1->2 (max: 8)}]"), "SchedulerSilent", Likely, []string{"likely ScalingUp", "1->2 (max: 8)"},
		},
		"no scale-up": {
			waits(cluster(node("n1", 8)).holds("a", "n1", 8), told(pod("train-0", "nvidia.com/gpu", "8"), "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")).event("pod/train-0", "NotTriggerScaleUp", "cluster-autoscaler", "pod didn't trigger scale-up: 1 max node group size reached"), "AcceleratorsTaken", Certain,
			[]string{"possible NoScaleUp", "1 max node group size reached"},
		},
		"gang misses pods": {gang(Gang{Resource: "podgroups.scheduling.volcano.sh", Name: "g", Min: 4}), "GangIncomplete", Certain, []string{"needs 4 pods, and 1 exist"}},
		"gang does not fit": {
			gang(Gang{Resource: "podgroups.scheduling.volcano.sh", Name: "g", Min: 1, Conditions: []fleet.Condition{{Type: "Unschedulable", Status: "True", Reason: "NotEnoughResources", Message: "4/4 tasks in gang unschedulable: pod group is not ready, 4 Pending, 4 minAvailable"}}}), "GangDoesNotFit", Certain,
			[]string{"4/4 tasks in gang unschedulable"},
		},
		"gang is missing": {gang(Gang{Resource: "podgroups.scheduling.x-k8s.io", Name: "g", Missing: true}), "GangMissing", Certain, nil},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

func gang(g Gang) *Evidence {
	e := waits(nil, told(pod("train-0", "nvidia.com/gpu", "8"), ""))
	e.Work.Want = 4
	e.Gangs = []Gang{g}
	return e
}

// Conditions as Kueue 0.15 writes them (pkg/scheduler, pkg/controller/core).
func TestKueue(t *testing.T) {
	pending := fleet.Condition{Type: "QuotaReserved", Status: "False", Reason: "Pending", Message: "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor a100, 4 more needed", Since: now.Add(-time.Hour)}
	base := func(change func(*Kueue)) *Evidence {
		k := &Kueue{
			Queue: "research", Installed: true, WorkloadsRead: true, Position: 2, PositionCluster: 4,
			Workload: &Workload{Name: "job-train-1", Active: true, Queue: "research", Conditions: []fleet.Condition{pending}},
			Local:    &Queue{Name: "research", ClusterQueue: "gpus"},
			Cluster:  &Queue{Name: "gpus", Flavors: []Flavor{{Name: "a100", Resource: "nvidia.com/gpu", Nominal: "16", Used: "14", Borrowed: "0"}}},
			Queues:   []string{"research"},
		}
		change(k)
		e := waits(nil)
		e.Work.State, e.Kueue = job.Suspended, k
		return e.job(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) })
	}
	says := func(reason, message string) func(*Kueue) {
		return func(k *Kueue) { k.Workload.Conditions[0].Reason, k.Workload.Conditions[0].Message = reason, message }
	}
	for name, f := range map[string]finding{
		"waits": {base(func(*Kueue) {}), "QueuedForQuota", Certain, []string{
			"queue research for quota, number 3 in it and 5 in its cluster queue", "insufficient unused quota for nvidia.com/gpu in flavor a100, 4 more needed", "flavor a100: 14 of 16 nvidia.com/gpu used",
		}},
		"counted":       {base(func(k *Kueue) { k.About = true }), "QueuedForQuota", Certain, []string{"about number 3 in it"}},
		"not installed": {base(func(k *Kueue) { k.Installed, k.Workload, k.Local = false, nil, nil }), "KueueNotInstalled", Certain, []string{"kubectl ml resume job/train"}},
		"no such queue": {base(func(k *Kueue) { k.Local, k.Queue = nil, "resarch" }), "QueueNotFound", Certain, []string{"the namespace has the queues research", "kueue.x-k8s.io/queue-name=research --overwrite"}},
		"deactivated":   {base(func(k *Kueue) { k.Workload.Active = false }), "WorkloadDeactivated", Certain, []string{"kubectl ml resume"}},
		"stopped":       {base(func(k *Kueue) { k.Local.Stop = "Hold" }), "QueueStopped", Certain, nil},
		"inactive": {base(func(k *Kueue) {
			k.Cluster.Conditions = []fleet.Condition{{Type: "Active", Status: "False", Reason: "FlavorNotFound", Message: "Can't admit new workloads: references missing ResourceFlavor(s): a100."}}
		}), "QueueInactive", Certain, []string{"references missing ResourceFlavor(s)"}},
		"no cluster queue": {base(func(k *Kueue) { k.Cluster = nil }), "QueueInactive", Certain, []string{"points to the cluster queue gpus, which does not exist"}},
		"no workload":      {base(func(k *Kueue) { k.Workload = nil }), "NoWorkload", Likely, nil},
		"never fits": {base(says("Pending", "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor a100, previously considered podsets requests (0) + current podset request (64) > maximum capacity (16)")), "LargerThanQueue", Certain, []string{
			"flavor a100 has 16 at most",
		}},
		"other resource": {base(says("Pending", "couldn't assign flavors to pod set main: resource amd.com/gpu unavailable in ClusterQueue")), "ResourceNotInQueue", Certain, nil},
		"inadmissible":   {base(says("Inadmissible", "Workload resources invalid")), "Inadmissible", Certain, []string{"Workload resources invalid"}},
		"checks": {base(func(k *Kueue) {
			k.Workload.Conditions[0].Status = "True"
			k.Workload.Checks = []Check{{"provision", "Pending", "waiting for capacity"}}
		}), "AdmissionCheckPending", Certain, []string{"admission check provision is Pending: waiting for capacity"}},
		"preempted before": {base(func(k *Kueue) {
			k.Workload.Conditions = append(k.Workload.Conditions, fleet.Condition{Type: "Preempted", Status: "True", Reason: "InClusterQueue", Message: "Preempted to accommodate a workload (UID: 1, JobUID: 2) due to prioritization in the ClusterQueue"})
		}), "QueuedForQuota", Certain, []string{"Preempted to accommodate a workload"}},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}
