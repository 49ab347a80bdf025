package fleet

import "time"

// row is one piece of work of the fleet, or several alike, and what it shows.
type row struct {
	name, shows string
	kind        kind
	// pods run at once, each with gpus of the models on (any when empty).
	pods, gpus int
	on         models
	// busy is the utilisation of its GPUs in percent; as that of a training when empty.
	busy string
	// age is how long its pods say to have run already, runs how long they run: ever when zero.
	age, runs time.Duration
	log       script
	with      []change
	// times is how many there are of it, 0 for one; per is for how many nodes they are meant: there is a set for each,
	// but at least one. Without per there is one set in any sandbox.
	times, per int
	// last rows are made when the others have their places.
	last bool
	// needs is what a sandbox must have for it.
	needs need
	// leaves says that it is deleted, and something keeps it from going.
	leaves bool
}

// kind is the object that a row becomes.
type kind string

const (
	indexed     kind = "Indexed Job"
	job         kind = "Job"
	pod         kind = "Pod"
	deployment  kind = "Deployment"
	statefulSet kind = "StatefulSet"
)

// models are products of GPUs, by the labels of nodes.
type models []string

var (
	a100  = models{"NVIDIA-A100-SXM4-80GB"}
	h100  = models{"NVIDIA-H100-80GB-HBM3"}
	small = models{"NVIDIA-L4", "NVIDIA-A100-SXM4-80GB"}
	b300  = models{"NVIDIA-B300-SXM6-288GB"}
	// amd GPUs have a resource of their own, which selects their nodes.
	amd = models{"AMD"}
)

const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour

// rows is the fleet.
func rows() []row {
	return []row{
		// Failed, each for another reason. They come first: what they hold is soon free for the rest.
		{name: "failed-oom", shows: "killed for its memory", kind: job, gpus: 1, on: small, runs: 8 * time.Second, log: loadsData(), with: of(fails(137, "OOMKilled"))},
		{name: "failed-cuda-oom", shows: "CUDA out of memory", kind: job, gpus: 1, on: small, runs: 8 * time.Second, log: cudaOutOfMemory(), with: of(fails(1, ""))},
		{name: "failed-sigterm", shows: "ended by SIGTERM", kind: job, gpus: 1, on: small, runs: 8 * time.Second, log: plain(20, 10), with: of(fails(143, ""))},
		{name: "failed-deadline", shows: "its deadline passed", kind: job, gpus: 1, on: small, runs: hour, log: plain(40, 10), with: of(deadline(20 * time.Second))},
		{name: "failed-rank", shows: "rank 2 of four fails first", kind: indexed, pods: 4, gpus: 1, on: small, runs: hour, log: plain(30, 10), with: of(rank(2, 8*time.Second, 1, keyError()))},
		{name: "failed-nccl", shows: "a time-out of NCCL", kind: indexed, pods: 2, gpus: 1, on: small, runs: hour, log: plain(30, 10), with: of(rank(1, 8*time.Second, 134, ncclTimeout()))},
		{name: "failed-xid", shows: "a GPU that fell off the bus (XID 79)", kind: job, gpus: 1, on: small, runs: 8 * time.Second, log: xid79(), with: of(fails(1, ""))},
		{name: "failed-retries", shows: "its retries are used up", kind: job, gpus: 1, on: small, runs: 2 * time.Second, log: keyError(), with: of(fails(1, ""), retries(2))},
		{name: "succeeded", shows: "a training that gave metrics back", kind: job, gpus: 1, on: small, runs: 8 * time.Second, log: marked(20, 2000), with: of(result(`{"metrics": {"accuracy": 0.913, "loss": 0.287}}`))},

		// Running work; large sandboxes have more of it.
		{name: "llm-pretrain", shows: "distributed training, four nodes of eight GPUs", kind: indexed, pods: 4, gpus: 8, on: h100, age: 31 * hour, runs: 3 * day, log: marked(120, 48000), per: 16, with: of(queue("research"), priority(high))},
		{name: "bert-finetune", shows: "distributed training, two nodes", kind: indexed, pods: 2, gpus: 2, on: a100, age: 2 * hour, runs: 5 * hour, log: huggingFace(60, 3), per: 16, with: of(queue("research"))},
		{name: "embedding-server", shows: "serving: a Deployment that holds GPUs", kind: deployment, pods: 2, gpus: 1, on: small, busy: "41", age: 12 * day, per: 8},
		{name: "rocm-llama", shows: "training on AMD GPUs", kind: job, gpus: 8, on: amd, age: 7 * hour, runs: 20 * hour, log: marked(60, 9000), per: 20, with: of(queue("research")), needs: needsAMD},

		// The progress lines of every kind of trainer.
		{name: "progress-ml", shows: "::ml:: lines", kind: job, gpus: 1, on: a100, age: 20 * minute, runs: hour, log: marked(240, 12000)},
		{name: "progress-tqdm", shows: "a bar of tqdm", kind: job, gpus: 1, on: a100, age: 10 * minute, runs: 40 * minute, log: tqdm(240, 5000)},
		{name: "progress-huggingface", shows: "dictionaries of the Hugging Face Trainer", kind: job, gpus: 1, on: a100, age: 25 * minute, runs: hour, log: huggingFace(240, 3)},
		{name: "progress-lightning", shows: "bars of PyTorch Lightning", kind: job, gpus: 1, on: a100, age: 15 * minute, runs: hour, log: lightning(240, 8)},
		{name: "progress-keras", shows: "bars of Keras", kind: job, gpus: 1, on: a100, age: 30 * minute, runs: hour, log: keras(240, 10)},
		{name: "progress-plain", shows: "plain words", kind: job, gpus: 1, on: a100, age: 5 * minute, runs: hour, log: plain(240, 100)},

		// GPUs that are held and little used, and work that is no Job.
		{name: "idle-holder", shows: "four GPUs held for hours, 2 % busy", kind: job, gpus: 4, on: a100, busy: "2", age: 6*hour + 30*minute, runs: 2 * day, log: waitingForData()},
		{name: "notebook-ada", shows: "a notebook as a StatefulSet, idle over night", kind: statefulSet, gpus: 1, on: a100, busy: "0", age: 19 * hour},
		{name: "notebook-grace", shows: "a notebook as a bare Pod", kind: pod, gpus: 1, on: a100, busy: "35", age: 40 * minute},
		{name: "serving-llama", shows: "an idle server", kind: deployment, gpus: 2, on: a100, busy: "1", age: 9 * day},
		{name: "gpu-error", shows: "a GPU that reports XID 94 while the training goes on", kind: job, gpus: 1, on: a100, age: 3 * hour, runs: day, log: plain(60, 200), with: of(xid(94))},

		// Small ones fill the gaps.
		{name: "sweep", shows: "many small trainings", kind: job, gpus: 1, on: a100, age: 50 * minute, runs: 2 * hour, log: plain(40, 20), times: 8, per: 8, with: of(queue("batch"))},

		// On its way out of a cordoned node, which is thereby draining.
		{name: "leaving", shows: "a pod that does not leave its draining node", kind: pod, gpus: 2, age: 5 * hour, with: of(onCordoned), needs: needsCordoned, leaves: true},

		// Pending, each for another reason.
		{name: "pending-too-many-gpus", shows: "asks for more GPUs than any node has", kind: job, gpus: 16},
		{name: "pending-unknown-product", shows: "asks for a GPU that no node has", kind: job, gpus: 1, on: b300},
		{name: "pending-fragmented", shows: "eight GPUs are free, but not on one node", kind: job, gpus: 8, on: a100, last: true},
		{name: "pending-taint", shows: "its node is reserved for others", kind: job, gpus: 1, with: of(onTainted), needs: needsTaint},
		{name: "pending-quota", shows: "a ResourceQuota leaves no room", kind: job, gpus: 4, with: of(priority(limited))},
		{name: "pending-pvc-missing", shows: "its claim does not exist", kind: job, gpus: 1, with: of(claim("imagenet-copy"))},
		{name: "pending-pvc-unbound", shows: "its claim has no volume", kind: job, gpus: 1, with: of(claim("imagenet"))},
		{name: "pending-serviceaccount", shows: "its service account does not exist", kind: job, gpus: 1, with: of(serviceAccount("trainer"))},
		{name: "pending-secret", shows: "a Secret that it reads does not exist", kind: job, gpus: 1, on: small, with: of(waits(`CreateContainerConfigError: secret "hf-token" not found`), secret("hf-token"))},
		{name: "pending-image", shows: "its image does not exist", kind: job, gpus: 1, on: small, with: of(image("ghcr.io/example/trainer:lastest"), waits(`ImagePullBackOff: Back-off pulling image "ghcr.io/example/trainer:lastest": not found`))},
		{name: "pending-gate", shows: "a scheduling gate holds it back", kind: pod, gpus: 1, with: of(gate("example.com/budget"))},
		{name: "suspended-by-hand", shows: "suspended", kind: job, gpus: 2, with: of(suspended)},
		{name: "suspended-in-queue", shows: "waits in a queue of Kueue", kind: job, gpus: 8, with: of(suspended, queue("research"))},
	}
}
