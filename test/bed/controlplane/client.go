package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/jsonpath"
)

// answerTimeout is how long the API server may take to answer one request. It bounds a request to a server that a test has paused.
const answerTimeout = 30 * time.Second

// newClient gives the administrator's client for any path.
func (c *Cluster) newClient() (*rest.RESTClient, error) {
	config := c.Config()
	config.Timeout = answerTimeout
	config.WarningHandlerWithContext = rest.NoWarnings{} // of versions that are asked for to see whether they are served
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.GroupVersion = &schema.GroupVersion{}
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

// Get reads what the API server has at a path ("/api/v1/nodes/worker"), as the administrator. It starts no process: a kubectl takes
// a tenth of a second of a processor, and a test that waits asks often. The errors are those of k8s.io/apimachinery/pkg/api/errors.
func (c *Cluster) Get(ctx context.Context, path string, into any) error {
	data, err := c.client.Get().RequestURI(path).Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// Print gives of what is at a path the same text as `kubectl get --ignore-not-found -o jsonpath=TEMPLATE`, and starts no process.
func (c *Cluster) Print(ctx context.Context, path, template string) (string, error) {
	var object any
	if err := c.Get(ctx, path, &object); apierrors.IsNotFound(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	printer := jsonpath.New(path).AllowMissingKeys(true)
	if err := printer.Parse(template); err != nil {
		return "", fmt.Errorf("reading the template %q: %w", template, err)
	}
	var out bytes.Buffer
	if err := printer.Execute(&out, object); err != nil {
		return "", fmt.Errorf("printing %s: %w", path, err)
	}
	return out.String(), nil
}

// Post sends an object to a path, as JSON, and reads the answer into the same variable.
func (c *Cluster) Post(ctx context.Context, path string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("posting to %s: %w", path, err)
	}
	data, err := c.client.Post().RequestURI(path).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Raw()
	if err == nil {
		err = json.Unmarshal(data, object)
	}
	if err != nil {
		return fmt.Errorf("posting to %s: %w", path, err)
	}
	return nil
}
