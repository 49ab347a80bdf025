package artifact

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// credentials are values by name, from a Secret or from the environment. They are never printed.
type credentials struct {
	// secret says that they are a Secret's; name is NAMESPACE/NAME for messages.
	secret bool
	name   string
	data   map[string][]byte
	env    func(string) string
}

// credentialsFrom reads the Secret that the options name; without one it asks for nothing.
func credentialsFrom(ctx context.Context, c *client.Client, namespace string, o Options) (credentials, error) {
	if o.Secret == "" {
		return credentials{env: o.Env}, nil
	}
	s, err := c.Kube.CoreV1().Secrets(namespace).Get(ctx, o.Secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return credentials{}, &client.Error{
			What: fmt.Sprintf("there is no Secret %s in namespace %s", o.Secret, namespace),
			Hint: fmt.Sprintf("see which there are: kubectl get secrets -n %s", namespace), Err: err,
		}
	}
	if err != nil {
		return credentials{}, c.Explain("read the credentials in Secret "+o.Secret, err)
	}
	return credentials{secret: true, name: namespace + "/" + o.Secret, data: s.Data}, nil
}

// SecretNames are the names of the namespace's Secrets, read without their contents.
func SecretNames(ctx context.Context, c *client.Client) ([]string, error) {
	list, err := c.Meta.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(c.Namespace).List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		return nil, c.Explain("list the Secrets", err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}

// get is the first of the names that has a value. Names in lower case are those of Secrets' types, and mean nothing in
// an environment.
func (c credentials) get(names ...string) string {
	for _, n := range names {
		v := ""
		switch {
		case c.secret:
			v = strings.TrimSpace(string(c.data[n]))
		case n == strings.ToUpper(n):
			v = c.env(n)
		}
		if v != "" {
			return v
		}
	}
	return ""
}

// without says that a Secret lacks keys, and which it has instead.
func (c credentials) without(keys string) error {
	have := make([]string, 0, len(c.data))
	for k := range c.data {
		have = append(have, k)
	}
	slices.Sort(have)
	list := strings.Join(have, ", ")
	if list == "" {
		list = "none"
	}
	return &client.Error{What: fmt.Sprintf("Secret %s has no credentials for this store: it needs %s", c.name, keys), Hint: "its keys are: " + list}
}
