package intake

import (
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(API)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// The description is held against the handler: each request of the table, and each answer to one.
func TestTheDescriptionIsWhatTheHandlerDoes(t *testing.T) {
	doc := description(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range requests {
		row := &requests[i]
		t.Run(row.name, func(t *testing.T) {
			w := newRecorder()
			newDoor(&row.played, row.guard, io.Discard).ServeHTTP(w, row.request())
			asked := row.request()
			asked.URL.Path = path(asked) // the description knows one slash
			route, params, err := router.FindRoute(asked)
			if err != nil {
				if !row.wrongly || w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
					t.Errorf("it is not described (%v), and the handler answers %d", err, w.Code)
				}
				return
			}
			input := &openapi3filter.RequestValidationInput{
				Request: asked, PathParams: params, Route: route,
				Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
			}
			if err := openapi3filter.ValidateRequest(t.Context(), input); row.wrongly != (err != nil) && asked.ContentLength <= maxBody && asked.ContentLength >= 0 {
				t.Errorf("the description says of the request: %v", err)
			}
			if asked.URL.Path == "/openapi.yaml" {
				return
			}
			seen[strconv.Itoa(w.Code)] = true
			response := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: w.Code, Header: w.Header(), Options: input.Options}
			if err := openapi3filter.ValidateResponse(t.Context(), response.SetBodyBytes(w.Body.Bytes())); err != nil {
				t.Errorf("the description says of the answer: %v\n%s", err, w.Body)
			}
		})
	}
	post, _, err := router.FindRoute(post(oneNode))
	if err != nil {
		t.Fatal(err)
	}
	for status := range post.Operation.Responses.Map() {
		// The tests of time and of rates have these two.
		if !seen[status] && status != "408" && status != "429" {
			t.Errorf("the table has no request that ends with %s", status)
		}
	}
}

// Whatever the API has of a NIC, the door takes, and its description has.
func TestTheDescriptionHasTheFieldsOfTheAPI(t *testing.T) {
	schemas := description(t).Components.Schemas
	for name, value := range map[string]any{"Node": v1.MultiNicNodeConfigSpec{}, "Interface": v1.Interface{}, "Answer": answer{}} {
		if diff := cmp.Diff(fields(value), properties(schemas[name].Value)); diff != "" {
			t.Errorf("%s (-type +description):\n%s", name, diff)
		}
	}
	a := schemas["Answer"].Value.Properties
	for name, value := range map[string]any{"results": taken{}, "errors": wrong{}} {
		if diff := cmp.Diff(fields(value), properties(a[name].Value.Items.Value)); diff != "" {
			t.Errorf("%s (-type +description):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(fields(v1.Route{}), properties(schemas["Interface"].Value.Properties["routes"].Value.Items.Value)); diff != "" {
		t.Errorf("routes (-type +description):\n%s", diff)
	}
}

// fields are the names that a type has in JSON, sorted.
func fields(v any) []string {
	var out []string
	for i := range reflect.TypeOf(v).NumField() {
		name, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func properties(s *openapi3.Schema) []string {
	var out []string
	for name := range s.Properties {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
