package intake

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

const (
	// trusted is for how long a yes of the API server counts, and doubted for how long a no does.
	trusted, doubted = time.Minute, 10 * time.Second

	// publishVerb on the resource providersResource of our group, by the provider's id, is what a
	// publisher needs. No such resource exists: like the signers of certificates, it is only a name
	// for rights.
	publishVerb, providersResource = "publish", "providers"

	// certificateUser begins the name of a user who comes with a client certificate, so that no
	// certificate makes somebody a user of the cluster.
	certificateUser = "multinic-publisher:"

	anonymous = "anonymous"
)

// caller is who sends a request.
type caller struct {
	user   authenticationv1.UserInfo
	access bool // may publish for every provider, without being asked about
}

// gate says who a caller is, and what they may do.
type gate struct {
	// reviews asks the API server.
	reviews client.Client
	// open lets requests through that say nothing about who sends them.
	open bool
	// unknown has a rate of questions to the API server about new tokens, by the client's address.
	unknown *rates
	tokens  *cache.LRUExpireCache // by hash of the token; *caller, nil for a token that is none
	rights  *cache.LRUExpireCache // by user and provider; bool
}

func newGate(reviews client.Client, open bool) *gate {
	return &gate{
		reviews: reviews, open: open, unknown: newRates(5, 30),
		tokens: cache.NewLRUExpireCache(remembered), rights: cache.NewLRUExpireCache(remembered),
	}
}

// remote is the client's address without its port.
func remote(r *http.Request) string { return address(r.RemoteAddr) }

func address(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	return host
}

// token is what the header Authorization has: a bearer token, or the same as the password of Basic,
// which is how a client sends what stands before @ in its URL. A user without a password is a token.
func token(r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	if user, password, ok := r.BasicAuth(); ok {
		if password == "" {
			return user, nil
		}
		return password, nil
	}
	scheme, token, _ := strings.Cut(header, " ")
	if token = strings.TrimSpace(token); header != "" && (!strings.EqualFold(scheme, "Bearer") || token == "") {
		return "", unauthorized("the header Authorization is neither Bearer nor Basic")
	}
	return token, nil
}

func unauthorized(message string) error {
	r := refuse(http.StatusUnauthorized, "Unauthorized", "%s", message)
	r.header = map[string]string{"WWW-Authenticate": `Bearer realm="multinic-intake"`}
	return r
}

// who says who sends a request. The error is a refusal.
func (g *gate) who(ctx context.Context, r *http.Request) (caller, error) {
	secret, err := token(r)
	switch {
	case err != nil:
		return caller{}, err
	case secret != "":
		return g.bearer(ctx, secret, remote(r))
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		if name == "" {
			return caller{}, unauthorized("the client's certificate has no common name")
		}
		return caller{user: authenticationv1.UserInfo{Username: certificateUser + name}}, nil
	case g.open && r.Header.Get("Authorization") == "":
		return caller{user: authenticationv1.UserInfo{Username: anonymous}, access: true}, nil
	}
	return caller{}, unauthorized("say who you are: a token of the audience " + v1.IntakeAudience + " as Bearer, or as the password of Basic")
}

func (g *gate) bearer(ctx context.Context, secret, from string) (caller, error) {
	key := sha256.Sum256([]byte(secret))
	if known, ok := g.tokens.Get(key); ok {
		if c, is := known.(*caller); is && c != nil {
			return *c, nil
		}
		return caller{}, unauthorized("the token is not valid for this service")
	}
	if !g.unknown.allow(from) {
		return caller{}, tooFast("too many new tokens from one address")
	}
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: secret, Audiences: []string{v1.IntakeAudience}}}
	if err := g.reviews.Create(ctx, review); err != nil {
		return caller{}, away("asking the API server about the token", err)
	}
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, v1.IntakeAudience) {
		g.tokens.Add(key, (*caller)(nil), doubted)
		return caller{}, unauthorized("the token is not valid for this service: is its audience " + v1.IntakeAudience + "?")
	}
	c := caller{user: review.Status.User}
	g.tokens.Add(key, &c, trusted)
	return c, nil
}

// may says whether a caller may publish the nodes of a provider. The error is a refusal.
func (g *gate) may(ctx context.Context, c caller, provider string) error {
	if c.access {
		return nil
	}
	key := fmt.Sprintf("%q %q %q %q", c.user.Username, c.user.UID, c.user.Groups, provider)
	yes, known := g.rights.Get(key)
	if !known {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: c.user.Username, Groups: c.user.Groups, UID: c.user.UID,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: v1.SystemNamespace, Group: v1.Group, Resource: providersResource, Verb: publishVerb, Name: provider,
			},
		}}
		for name, values := range c.user.Extra {
			if review.Spec.Extra == nil {
				review.Spec.Extra = map[string]authorizationv1.ExtraValue{}
			}
			review.Spec.Extra[name] = authorizationv1.ExtraValue(values)
		}
		if err := g.reviews.Create(ctx, review); err != nil {
			return away("asking the API server about the right", err)
		}
		yes = review.Status.Allowed
		until := doubted
		if review.Status.Allowed {
			until = trusted
		}
		g.rights.Add(key, yes, until)
	}
	if allowed, is := yes.(bool); !is || !allowed {
		return refuse(http.StatusForbidden, "Forbidden", "%s has no right to publish for this provider: the verb %s on %s/%s of %s in the namespace %s",
			c.user.Username, publishVerb, providersResource, provider, v1.Group, v1.SystemNamespace)
	}
	return nil
}

func tooFast(message string) error {
	r := refuse(http.StatusTooManyRequests, "TooFast", "%s", message)
	r.header = map[string]string{"Retry-After": retryAfter}
	return r
}

// away is a refusal because the API server does not answer. What it said is not for the client.
func away(doing string, err error) error {
	return fmt.Errorf("%s: %w: %w", doing, refuse(http.StatusServiceUnavailable, "NotNow", "%s has failed", doing), err)
}
