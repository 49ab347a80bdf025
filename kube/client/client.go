// Package client is the door to the API server: one connection in the namespace the user works in, and the
// translation of the server's errors into what a person can do about them.
package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Client is a connection to one cluster, working in one namespace.
type Client struct {
	Kube kubernetes.Interface
	// Meta lists objects without their contents.
	Meta metadata.Interface
	// Dynamic reads and writes kinds that are known by discovery only.
	Dynamic dynamic.Interface
	// HTTP sends requests to Server with the caller's credentials, which it gives to whatever host it is sent to. They
	// serve what the typed clients cannot express: the proxy of the API server.
	HTTP   *http.Client
	Server *url.URL
	// Config is for what upgrades a connection, such as exec, and must not be changed.
	Config *rest.Config
	// Namespace is never empty.
	Namespace string
	// Host is the API server's address, for messages.
	Host string
}

// New connects with cfg, which it does not change. No request is made yet.
func New(cfg *rest.Config, namespace string) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	// The server's own priority and fairness is the limit; a client-side one only makes a person wait.
	cfg.QPS = -1
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", cfg.Host, err)
	}
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", cfg.Host, err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(cfg), hc)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", cfg.Host, err)
	}
	dyn, err := dynamic.NewForConfigAndClient(dynamic.ConfigFor(cfg), hc)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", cfg.Host, err)
	}
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cs, err := kubernetes.NewForConfigAndClient(cfg, hc)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", cfg.Host, err)
	}
	return &Client{Kube: cs, Meta: meta, Dynamic: dyn, HTTP: hc, Server: server, Config: cfg, Namespace: namespace, Host: cfg.Host}, nil
}

// WhoAmI is the user name that the API server knows the caller by, or the local user's where the server does not say.
func (c *Client) WhoAmI(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := c.Kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err == nil && r.Status.UserInfo.Username != "" {
		return r.Status.UserInfo.Username
	}
	if u, err := user.Current(); err == nil {
		return "local:" + u.Username
	}
	return "local:" + os.Getenv("USER")
}

// Namespaces are the names of all namespaces.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	list, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, c.Explain("list the namespaces", err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}

// NamespaceExists is false only when the server says so; without the right to look it is true.
func (c *Client) NamespaceExists(ctx context.Context) bool {
	_, err := c.Kube.CoreV1().Namespaces().Get(ctx, c.Namespace, metav1.GetOptions{})
	return !apierrors.IsNotFound(err)
}
