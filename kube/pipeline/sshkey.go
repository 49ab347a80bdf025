package pipeline

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// Keys of the Secret, and names of their files.
const (
	sshKey    = "key"
	sshPublic = "key.pub"
)

// SSHSecretName is the Secret with the key by which the ranks of a run's MPI stages log in to each other.
func SSHSecretName(run string) string { return fitName(run, "-ssh", maxJobName) }

// SSHSecret is that Secret with a new key. Nobody but the run's own pods is given it, and it goes with the run.
func SSHSecret(plan *Plan, run RunRef, random io.Reader) (*corev1.Secret, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("make a key for ssh: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write the key for ssh: %w", err)
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		return nil, fmt.Errorf("write the public key for ssh: %w", err)
	}
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: SSHSecretName(run.Name), Namespace: run.Namespace,
			Labels: merged(plan.Labels, map[string]string{
				kube.LabelManagedBy: kube.ManagedBy, kube.LabelPipeline: plan.Pipeline, kube.LabelRun: run.Name,
			}),
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			sshKey:    pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
			sshPublic: authorizedKey(public.Bytes()),
		},
	}, nil
}

// authorizedKey is a P-256 point as a line of authorized_keys (RFC 5656, section 3.1).
func authorizedKey(point []byte) []byte {
	const kind, curve = "ecdsa-sha2-nistp256", "nistp256"
	var blob []byte
	for _, part := range [][]byte{[]byte(kind), []byte(curve), point} {
		blob = binary.BigEndian.AppendUint32(blob, uint32(len(part)))
		blob = append(blob, part...)
	}
	return []byte(kind + " " + base64.StdEncoding.EncodeToString(blob) + "\n")
}
