package pipeline

import (
	_ "embed" // the scripts are files, for those who check shell
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	hostfilePath = InputsPath + "/hostfile"
	// sshPath is the folder of the key by which ranks log in to each other.
	sshPath = "ssh"
	// maxReplicas is as many nodes as a cluster has at most; maxHosts as many names as fit a variable and an annotation.
	maxReplicas, maxHosts = 5000, 400
	// defaultPort is where rank 0 listens, PyTorch's choice.
	defaultPort = 29500
)

var (
	//go:embed launch_mpi.sh
	mpiScript string
	//go:embed launch_ray.sh
	rayScript string
)

// launch is how the ranks of a framework are started.
type launch struct {
	// listens is the port of rank 0, 0 for the default.
	listens int
	// leads says that rank 0 alone runs the command: the others serve it for as long as it runs.
	leads bool
	// lists says that every rank is told the names of all.
	lists bool
	// script runs around the command, as sh -c SCRIPT; empty for what needs none.
	script string
	// adds are capabilities that the script needs where the image runs as root.
	adds []corev1.Capability
	// env is what the framework reads.
	env func(*gang) []corev1.EnvVar
}

// launches are the frameworks. Of each the variables are those that it reads by itself, under its own names.
var launches = map[Framework]launch{
	FrameworkNone:       {env: peerEnv},
	FrameworkTorchrun:   {env: torchrunEnv},
	FrameworkTensorFlow: {env: tensorFlowEnv, lists: true},
	FrameworkJAX:        {env: jaxEnv},
	FrameworkRay:        {env: nodeEnv, listens: 6379, leads: true, script: rayScript},
	FrameworkMPI:        {env: mpiEnv, leads: true, lists: true, script: mpiScript, adds: []corev1.Capability{"SETGID", "SETUID", "SYS_CHROOT"}},
}

func (l launch) port() int {
	if l.listens != 0 {
		return l.listens
	}
	return defaultPort
}

func variable(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }

// rankVariable is a variable with the pod's rank.
func rankVariable(name string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
		APIVersion: "v1", FieldPath: "metadata.annotations['" + batchv1.JobCompletionIndexAnnotation + "']",
	}}}
}

// nodeEnv is what every pod is told: where rank 0 is, and how many pods there are. What a process is called is left to
// those that start the processes.
func nodeEnv(g *gang) []corev1.EnvVar {
	return []corev1.EnvVar{
		variable("MASTER_ADDR", g.host(0)), variable("MASTER_PORT", strconv.Itoa(g.port())),
		variable("NNODES", strconv.Itoa(g.ranks)), rankVariable("NODE_RANK"), variable("NPROC_PER_NODE", strconv.Itoa(g.procs)),
	}
}

// peerEnv makes each pod one process of the world. LOCAL_RANK and LOCAL_WORLD_SIZE are not in it: libraries take them as
// the word of a launcher that has started a process for each GPU.
func peerEnv(g *gang) []corev1.EnvVar {
	return append(nodeEnv(g), rankVariable("RANK"), variable("WORLD_SIZE", strconv.Itoa(g.ranks)))
}

// torchrunEnv is what torchrun takes for its options when they are not given. It sets RANK, WORLD_SIZE, LOCAL_RANK and
// the like itself, for each process.
func torchrunEnv(g *gang) []corev1.EnvVar {
	return append(peerEnv(g),
		variable("PET_NNODES", strconv.Itoa(g.ranks)), rankVariable("PET_NODE_RANK"), variable("PET_NPROC_PER_NODE", strconv.Itoa(g.procs)),
		variable("PET_MASTER_ADDR", g.host(0)), variable("PET_MASTER_PORT", strconv.Itoa(g.port())),
		// Read with --rdzv-backend=c10d alone.
		variable("PET_RDZV_ENDPOINT", g.leader()), variable("PET_RDZV_ID", g.service),
	)
}

func tensorFlowEnv(g *gang) []corev1.EnvVar {
	return append(peerEnv(g), variable("TF_CONFIG", g.tfConfig()))
}

func jaxEnv(g *gang) []corev1.EnvVar {
	return append(peerEnv(g),
		variable("JAX_COORDINATOR_ADDRESS", g.leader()), variable("JAX_NUM_PROCESSES", strconv.Itoa(g.ranks)), rankVariable("JAX_PROCESS_ID"))
}

// mpiEnv tells mpirun of Open MPI (4 and 5), MPICH and Intel MPI which hosts there are. The names of hosts must stay
// whole: their first part alone cannot be resolved.
func mpiEnv(g *gang) []corev1.EnvVar {
	const machinefile = "/dev/shm/ml-mpi/machinefile"
	return append(nodeEnv(g),
		variable("OMPI_MCA_orte_default_hostfile", hostfilePath), variable("OMPI_MCA_orte_keep_fqdn_hostnames", "true"),
		variable("PRTE_MCA_prte_default_hostfile", hostfilePath), variable("PRTE_MCA_prte_keep_fqdn_hostnames", "true"),
		variable("OMPI_ALLOW_RUN_AS_ROOT", "1"), variable("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
		variable("HYDRA_HOST_FILE", machinefile), variable("HYDRA_LAUNCHER", "ssh"),
		variable("I_MPI_HYDRA_HOST_FILE", machinefile), variable("I_MPI_HYDRA_BOOTSTRAP", "ssh"),
	)
}
