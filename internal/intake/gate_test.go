package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "multinicd/api/v1"
)

// court plays the API server's reviews. test/suite/intake has the real ones.
type court struct {
	tokens, rights int
	audiences      []string
	err            error
}

func (c *court) client(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			switch r := o.(type) {
			case *authenticationv1.TokenReview:
				c.tokens++
				r.Status = authenticationv1.TokenReviewStatus{
					Authenticated: r.Spec.Token == "good", Audiences: c.audiences, User: authenticationv1.UserInfo{Username: "viola"},
				}
			case *authorizationv1.SubjectAccessReview:
				c.rights++
				a := r.Spec.ResourceAttributes
				r.Status.Allowed = fmt.Sprint(r.Spec.User, a.Namespace, a.Group, a.Resource, a.Verb, a.Name) == "violamultinic-systemmultinic.ioproviderspublishprovider-a"
			}
			return c.err
		},
	}).Build()
}

func asked(header string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, configsPath, nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return r
}

func basic(user, password string) *http.Request {
	r := asked("")
	r.SetBasicAuth(user, password)
	return r
}

func TestWhoSendsARequest(t *testing.T) {
	for _, row := range []struct {
		name      string
		request   *http.Request
		audiences []string
		open      bool
		err       error
		want      string
	}{
		{"a bearer token", asked("Bearer good"), []string{v1.IntakeAudience}, false, nil, "viola"},
		{"in lower case", asked("bearer good"), []string{v1.IntakeAudience}, false, nil, "viola"},
		{"as the password of Basic", basic("anybody", "good"), []string{v1.IntakeAudience}, false, nil, "viola"},
		{"as the user of Basic", basic("good", ""), []string{v1.IntakeAudience}, false, nil, "viola"},
		{"a wrong token", asked("Bearer bad"), []string{v1.IntakeAudience}, false, nil, "401"},
		{"a wrong token, where nobody needs one", asked("Bearer bad"), []string{v1.IntakeAudience}, true, nil, "401"},
		{"a token of another audience", asked("Bearer good"), []string{"https://kubernetes.default.svc"}, false, nil, "401"},
		{"an API server that does not know audiences", asked("Bearer good"), nil, false, nil, "401"},
		{"another scheme", asked("Digest good"), []string{v1.IntakeAudience}, false, nil, "401"},
		{"another scheme, where nobody needs one", asked("Digest good"), []string{v1.IntakeAudience}, true, nil, "401"},
		{"a bearer without a token, where nobody needs one", asked("Bearer "), []string{v1.IntakeAudience}, true, nil, "401"},
		{"an empty Basic, where nobody needs one", basic("", ""), []string{v1.IntakeAudience}, true, nil, "401"},
		{"nothing", asked(""), nil, false, nil, "401"},
		{"nothing, where nobody needs a token", asked(""), nil, true, nil, anonymous},
		{"the API server is away", asked("Bearer good"), []string{v1.IntakeAudience}, false, errors.New("away"), "503"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &court{audiences: row.audiences, err: row.err}
			got, err := newGate(c.client(t), row.open).who(t.Context(), row.request)
			said := got.user.Username
			var why *refusal
			if errors.As(err, &why) {
				said = fmt.Sprint(why.status)
			}
			if said != row.want || (err != nil) != (why != nil) {
				t.Errorf("%s %v, want %s", said, err, row.want)
			}
		})
	}
}

func TestTheAPIServerIsAskedOnceInAWhile(t *testing.T) {
	c := &court{audiences: []string{v1.IntakeAudience}}
	g := newGate(c.client(t), false)
	for range 5 {
		who, err := g.who(t.Context(), asked("Bearer good"))
		if err != nil {
			t.Fatal(err)
		}
		if err := g.may(t.Context(), who, "provider-a"); err != nil {
			t.Error(err)
		}
		if err := g.may(t.Context(), who, "provider-b"); err == nil {
			t.Error("it may publish for another provider")
		}
		if _, err := g.who(t.Context(), asked("Bearer bad")); err == nil {
			t.Error("a wrong token is taken")
		}
	}
	if c.tokens != 2 || c.rights != 2 {
		t.Errorf("asked about tokens %d times, about rights %d times", c.tokens, c.rights)
	}
}

// Whoever guesses tokens must not make the API server work.
func TestGuessedTokensAreNotAllAskedAbout(t *testing.T) {
	c := &court{audiences: []string{v1.IntakeAudience}}
	g := newGate(c.client(t), false)
	g.unknown = newRates(1e-9, 10)
	last := 0
	for i := range 100 {
		_, err := g.who(t.Context(), asked(fmt.Sprintf("Bearer guess-%d", i)))
		var why *refusal
		if errors.As(err, &why) {
			last = why.status
		}
	}
	if c.tokens != 10 || last != http.StatusTooManyRequests {
		t.Errorf("%d were asked about, the last answer was %d", c.tokens, last)
	}
}

// An answer of trouble is not kept for an answer.
func TestTroubleIsNotRemembered(t *testing.T) {
	c := &court{audiences: []string{v1.IntakeAudience}, err: errors.New("away")}
	g := newGate(c.client(t), false)
	if _, err := g.who(t.Context(), asked("Bearer good")); err == nil {
		t.Fatal("taken")
	}
	c.err = nil
	if _, err := g.who(t.Context(), asked("Bearer good")); err != nil {
		t.Error(err)
	}
}
