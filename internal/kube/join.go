package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/transport"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube/credential"
)

// Joining says how a node gets its first token, or a new one after its last token has ended. It
// joins by Server and File; if Server is empty, by the Kubeconfig of the node's kubelet.
type Joining struct {
	Server     string      // https URL
	File       v1.JoinFile // with a CA that has been checked
	Kubeconfig string
	// Credential is the folder for the credential. Store writes into it.
	Credential string
	Store      Store
}

var (
	// ErrRefused: the bridge has said no. The error says why, and what to do.
	ErrRefused = errors.New("the bridge refuses")
	// ErrRequestTaken: there is a request with the node's name and another key.
	ErrRequestTaken = errors.New("another machine, or an earlier attempt of this one, is joining under this name")
	// errRemoved: the request is gone, without an answer.
	errRemoved = errors.New("the request was removed before it was answered")
)

// Joined is a credential that has been tried and works.
type Joined struct {
	Server  string
	Request types.UID
	Door    v1.Door

	ca    []byte
	token credential.Token
}

// Join asks the bridge for a token, tries the token, and stores the credential, the file server
// last. Join tries again, until ctx ends, as long as that may help: if a server does not answer, or
// not yet. The key that the token is sealed to never leaves this call. After an error nothing has
// been stored; if the disk failed half-way, no complete credential has.
func Join(ctx context.Context, opts Options, j Joining) (*Joined, error) {
	opts, err := opts.filled()
	if err != nil {
		return nil, err
	}
	release, err := j.Store.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	got, err := join(ctx, opts, j, (&net.Dialer{KeepAliveConfig: dialer.KeepAliveConfig}).DialContext)
	if err != nil {
		return nil, err
	}
	return got, got.store(j)
}

func (j *Joined) store(to Joining) error {
	present, err := credential.Line(to.Credential, credential.FileServer)
	if err != nil {
		return err
	}
	if err := j.save(to.Store, present); err != nil {
		return fmt.Errorf("storing the credential: %w", err)
	}
	return nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// join does all of Join except storing.
func join(ctx context.Context, opts Options, j Joining, dial dialFunc) (*Joined, error) {
	cred, door, ca, err := j.identity()
	if err != nil {
		return nil, err
	}
	c, err := newClient(opts, cred)
	if err != nil {
		return nil, err
	}
	defer c.CloseIdle()
	c.connect = dial
	uid, text, err := c.answered(ctx, door)
	if err != nil {
		return nil, err
	}
	got := &Joined{Server: cred.Server.String(), Request: uid, Door: door, ca: ca, token: credential.NewToken(text)}
	return got, got.try(ctx, opts, dial)
}

// asksAtMost is how often a node asks in one attempt to join.
const asksAtMost = 5

// answered asks until there is an answer, and gives the uid of the request and the token. A request
// that is removed unanswered is made again: the bridge removes those that were made while the
// admission policies were not in force, since anybody may have made them.
func (c *Client) answered(ctx context.Context, door v1.Door) (uid types.UID, token string, err error) {
	asked := 0
	err = c.insist(ctx, func() (bool, error) {
		var err error
		uid, token, err = c.askOnce(ctx, door)
		if asked++; errors.Is(err, errRemoved) && asked < asksAtMost {
			return false, notYet{err}
		}
		return true, err
	})
	return uid, token, err
}

func (c *Client) askOnce(ctx context.Context, door v1.Door) (types.UID, string, error) {
	key, err := v1.NewSealKey()
	if err != nil {
		return "", "", err
	}
	uid, err := c.ask(ctx, door, key.Public())
	if err != nil {
		return "", "", err
	}
	sealed, err := c.await(ctx, uid)
	if err != nil {
		return "", "", err
	}
	text, err := key.Open(sealed, c.opts.Node, uid)
	if err != nil {
		return "", "", fmt.Errorf("opening the bridge's answer: %w", err)
	}
	if text == "" || !credential.Printable(text) {
		return "", "", errors.New("opening the bridge's answer: it holds no token")
	}
	return uid, text, nil
}

// identity is who asks: a credential, and the door that goes with it.
func (j Joining) identity() (credential.Credential, v1.Door, []byte, error) {
	if j.Server != "" {
		cred, err := credential.New(j.Server, transport.TLSConfig{CAData: j.File.CA}, credential.Fixed(credential.NewToken(j.File.Token)))
		return cred, v1.DoorJoinToken, j.File.CA, err
	}
	cred, err := credential.FromKubeconfig(j.Kubeconfig)
	if err != nil {
		return cred, "", nil, err
	}
	ca := cred.TLS.CAData
	if len(ca) == 0 && cred.TLS.CAFile != "" {
		if ca, err = os.ReadFile(cred.TLS.CAFile); err != nil {
			return cred, "", nil, fmt.Errorf("reading the CA that %s names: %w", j.Kubeconfig, err)
		}
	}
	switch {
	case len(ca) == 0:
		return cred, "", nil, fmt.Errorf("reading %s: it names no certificate authority, and a credential is stored with one", j.Kubeconfig)
	case cred.TLS.ServerName != "":
		return cred, "", nil, fmt.Errorf("reading %s: it sets tls-server-name, which a stored credential cannot", j.Kubeconfig)
	}
	return cred, v1.DoorKubelet, ca, nil
}

// tokenRequests is the path of the collection, or of the node's request.
func (c *Client) tokenRequests(name string) string {
	p := "/apis/" + v1.Group + "/" + v1.Version + "/namespaces/" + url.PathEscape(c.opts.ReportNamespace) + "/nodetokenrequests"
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// ask makes the request, and gives its uid. If the answer to an earlier attempt was lost, that
// request is recognised by its key.
func (c *Client) ask(ctx context.Context, door v1.Door, public []byte) (types.UID, error) {
	op := "asking for a token for " + c.opts.Node
	body, err := json.Marshal(v1.NodeTokenRequest{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1.Group + "/" + v1.Version, Kind: v1.TokenRequestKind},
		ObjectMeta: metav1.ObjectMeta{Name: c.opts.Node, Namespace: c.opts.ReportNamespace},
		Spec:       v1.NodeTokenRequestSpec{Door: door, PublicKey: public},
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	var made v1.NodeTokenRequest
	began := c.now()
	err = c.insist(ctx, func() (bool, error) {
		answer, err := c.call(ctx, request{op: op, method: http.MethodPost, path: c.tokenRequests(""), body: body})
		if ClassOf(err) == Exists {
			if made, err = c.tokenRequest(ctx, op); err == nil && !bytes.Equal(made.Spec.PublicKey, public) {
				if made.Status.Reason != "" {
					return true, fmt.Errorf("%s: an earlier request, made at %s, stands in the way for some minutes: %w", op, made.CreationTimestamp.UTC().Format(time.RFC3339), refusal(made))
				}
				return true, fmt.Errorf("%s: %w: the request was made at %s; the bridge removes it within 10 minutes of its answer, then try again; if that was no machine of yours: multinic-bridge token revoke --node %s",
					op, ErrRequestTaken, made.CreationTimestamp.UTC().Format(time.RFC3339), c.opts.Node)
			}
			return err == nil, err
		}
		switch {
		case err == nil:
			err = decodeRequest(op, answer, &made)
		case ClassOf(err) == Unauthorized && door == v1.DoorJoinToken:
			err = fmt.Errorf("%w; the join token has been used, revoked or has ended: let an administrator make another", err)
		case ClassOf(err) == Unauthorized:
			err = fmt.Errorf("%w; the API server does not know this kubelet: is its certificate still valid?", err)
		case ClassOf(err) == Forbidden && c.now().Sub(began) < rightsPatience:
			return false, notYet{err}
		case ClassOf(err) == Forbidden:
			err = fmt.Errorf("%w; the bridge gives this right to whom it expects: is there a Node, a MultiNicNodeConfig or a join token named %s, and does multinic-bridge run?", err, c.opts.Node)
		}
		return err == nil, err
	})
	if err != nil {
		return "", err
	}
	return made.UID, nil
}

func (c *Client) tokenRequest(ctx context.Context, op string) (v1.NodeTokenRequest, error) {
	var r v1.NodeTokenRequest
	answer, err := c.call(ctx, request{op: op, method: http.MethodGet, path: c.tokenRequests(c.opts.Node)})
	if err == nil {
		err = decodeRequest(op, answer, &r)
	}
	return r, err
}

func decodeRequest(op string, answer []byte, into *v1.NodeTokenRequest) error {
	*into = v1.NodeTokenRequest{}
	if err := json.Unmarshal(answer, into); err != nil {
		return unexpected(op, err)
	}
	if into.UID == "" {
		return unexpected(op, errors.New("the request has no uid"))
	}
	return nil
}

// await waits for the bridge's answer to the request of that uid. It asks again and again, because
// the node has no right to watch the request.
func (c *Client) await(ctx context.Context, uid types.UID) ([]byte, error) {
	op := "waiting for the bridge to give " + c.opts.Node + " a token"
	var sealed []byte
	err := c.insist(ctx, func() (bool, error) {
		r, err := c.tokenRequest(ctx, op)
		switch {
		case ClassOf(err) == NotFound:
			return true, fmt.Errorf("%s: %w: %w; ask again", op, ErrRefused, errRemoved)
		case err != nil:
			return false, err
		case r.UID != uid:
			return true, fmt.Errorf("%s: %w", op, ErrRequestTaken)
		case len(r.Status.SealedToken) > 0:
			sealed = r.Status.SealedToken
			return true, nil
		case r.Status.Reason == v1.ReasonAdmissionMissing:
			return false, fmt.Errorf("%s: %w", op, refusal(r)) // the bridge looks again
		case r.Status.Reason != "":
			return true, fmt.Errorf("%s: %w", op, refusal(r))
		}
		return false, fmt.Errorf("%s: no answer yet; is multinic-bridge running?", op)
	})
	return sealed, err
}

// refusal is the bridge's no as an error, with its reason and what to do.
func refusal(r v1.NodeTokenRequest) error {
	return fmt.Errorf("%w: %s: %s%s", ErrRefused, clean(r.Status.Reason, 64), clean(r.Status.Message, 512), advice(r.Status.Reason, r.Name))
}

// advice is what to do about a refusal.
func advice(reason, node string) string {
	switch reason {
	case v1.ReasonNodeNotExpected:
		return "; publish a MultiNicNodeConfig of that name, or make sure that the Node exists: the name must be " + node
	case v1.ReasonNodeAlreadyJoined:
		return "; use the kubelet's door, or let an administrator make the join token with --replace"
	case v1.ReasonJoinTokenEnded:
		return "; let an administrator make another join token"
	case v1.ReasonNodeBlocked:
		return "; if this machine shall be there, let an administrator unblock it"
	case v1.ReasonKeyReplayed, v1.ReasonKeyInvalid:
		return "; join again: each attempt makes a key of its own"
	case v1.ReasonAdmissionMissing:
		return "; let an administrator install the admission policies, which come with the bridge"
	}
	return ""
}

// clean makes text that somebody else wrote fit to be printed.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// try asks for the node's object with the new token. Two answers are good: the object is there, or
// it is not. A right may need a moment until it is in force on every API server.
func (j *Joined) try(ctx context.Context, opts Options, dial dialFunc) error {
	cred, err := credential.New(j.Server, transport.TLSConfig{CAData: j.ca}, credential.Fixed(j.token))
	if err != nil {
		return err
	}
	c, err := newClient(opts, cred)
	if err != nil {
		return err
	}
	defer c.CloseIdle()
	c.connect = dial
	tries := 0
	err = c.insist(ctx, func() (bool, error) {
		o := c.Get(ctx)
		if tries++; ClassOf(o.Err) == Malformed {
			return true, nil
		}
		if class := ClassOf(o.Err); (class == Unauthorized || class == Forbidden) && tries < triesOfNew {
			return false, notYet{o.Err}
		}
		return o.Err == nil, o.Err
	})
	if err != nil {
		return fmt.Errorf("trying the new token: %w", err)
	}
	return nil
}

// triesOfNew is how often a new token may be refused until we give up: about 10 s.
const triesOfNew = 8

// rightsPatience is how long the bridge may take to give a newly known node the right to ask.
const rightsPatience = 30 * time.Second

// notYet hides the class of an error, because the class would end the trying.
type notYet struct{ error }

// insist calls f until f is done, or trying again cannot help its error, or ctx ends. Then it
// returns the last error. It waits 0.5 s between two calls at first, and 2 s later.
func (c *Client) insist(ctx context.Context, f func() (done bool, err error)) error {
	var last error
	for pause := 500 * time.Millisecond; ; pause = min(pause*3/2, 2*time.Second) {
		done, err := f()
		if done || final(err) {
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		var e *Error
		wait := time.Duration(float64(pause) * (0.75 + 0.5*c.jitter()))
		if errors.As(err, &e) {
			wait += min(e.RetryAfter, time.Minute)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if last == nil {
				last = context.Cause(ctx)
			}
			return last
		}
	}
}

// final says that asking again would give the same answer.
func final(err error) bool {
	switch ClassOf(err) {
	case Unauthorized, Forbidden, NotServed, NotFound, Exists, Untrusted, Credential, Unexpected:
		return true
	}
	return false
}
