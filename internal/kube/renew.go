package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube/credential"
)

// renewed asks for a new token of this node's own ServiceAccount. The token is bound to the Node.
// If the API server knows no such Node, and the present token is not bound to one either, it is
// bound to the Secret that the bridge keeps for this. The audiences are left out, because the API
// server fills in its own.
func (c *Client) renewed(ctx context.Context, nodeBound bool) (credential.Token, error) {
	t, err := c.requestToken(ctx, authenticationv1.BoundObjectReference{Kind: "Node", APIVersion: "v1", Name: c.opts.Node})
	if noSuchNode(err) && !nodeBound {
		t, err = c.requestToken(ctx, authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: v1.ServiceAccountName(c.opts.Node)})
	}
	return t, err
}

// noSuchNode says that err is a NotFound that names a Node. A NotFound of the ServiceAccount names
// another kind.
func noSuchNode(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == NotFound && e.Kind == "nodes"
}

func (c *Client) requestToken(ctx context.Context, bound authenticationv1.BoundObjectReference) (credential.Token, error) {
	op := "renewing the token of " + c.opts.Node
	seconds := int64(v1.TokenLife.Seconds())
	body, err := json.Marshal(authenticationv1.TokenRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
		Spec:     authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, BoundObjectRef: &bound},
	})
	if err != nil {
		return credential.Token{}, fmt.Errorf("%s: %w", op, err)
	}
	path := "/api/v1/namespaces/" + url.PathEscape(c.opts.ReportNamespace) + "/serviceaccounts/" + url.PathEscape(v1.ServiceAccountName(c.opts.Node)) + "/token"
	answer, err := c.call(ctx, request{op: op, method: http.MethodPost, path: path, body: body})
	if err != nil {
		return credential.Token{}, err
	}
	var got authenticationv1.TokenRequest
	if err := json.Unmarshal(answer, &got); err != nil {
		return credential.Token{}, &Error{Class: Unexpected, Op: op, Err: errors.New("this is not the answer of an API server")}
	}
	t := credential.NewToken(got.Status.Token)
	if got.Status.Token == "" || !credential.Printable(got.Status.Token) {
		return credential.Token{}, &Error{Class: Unexpected, Op: op, Err: errors.New("the answer holds no token")}
	}
	return t, nil
}
