package openstack

import (
	"strings"
	"testing"
	"time"
)

func TestWhenTheCredentialEnds(t *testing.T) {
	for _, row := range []struct {
		name, answer string // of Keystone
		status       int
		want         string
	}{
		{"never", `{"application_credential": {"id": "i", "expires_at": null}}`, 200, "0001-01-01T00:00:00Z <nil>"},
		{"at a time", `{"application_credential": {"id": "i", "expires_at": "2027-01-02T03:04:05.000000"}}`, 200, "2027-01-02T03:04:05Z <nil>"},
		{"it may not read itself", `{}`, 401, "0001-01-01T00:00:00Z asking when the application credential ends: GET /v3/users/u/application_credentials/i: the answer is 401 Unauthorized"},
		{"no credential in the answer", `{}`, 200, "0001-01-01T00:00:00Z asking when the application credential ends: the answer has no credential"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNeutron(t, 1)
			n.credential = func() (int, string) { return row.status, row.answer }
			c := n.client(t)
			if got := c.ends.at.Format(time.RFC3339) + " " + errText(c.ends.err); !strings.HasPrefix(got, row.want) || !c.ends.by {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			if n.tokens != 1 {
				t.Errorf("%d tokens were asked for", n.tokens)
			}
		})
	}
	if got := firstEnd([]*cloud{{}, {ends: ending{at: begin.Add(time.Hour)}}, {ends: ending{at: begin}}}); !got.Equal(begin) {
		t.Errorf("the first end is %v", got)
	}
}

func errText(err error) string {
	if err == nil {
		return "<nil>"
	}
	return err.Error()
}
