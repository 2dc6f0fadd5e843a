package node

import "testing"

func TestTheNodesName(t *testing.T) {
	given, certificate := Said{"given", "node in multinicd.toml"}, Said{"worker-1", "the kubelet's client certificate in x.pem"}
	told, hostname := Said{"told", "kubelet.env"}, Said{"Worker-1.novalocal\n", "the host's name"}
	token := func(name string) Said { return Said{name, "the token in t"} }
	for title, test := range map[string]struct {
		names  Names
		name   string
		by     string
		doubt  string
		advice string
	}{
		"the host's name, in lower case":                   {Names{Host: hostname}, "worker-1.novalocal", "the host's name", "", ""},
		"the kubelet's flag before the host's name":        {Names{Told: told, Host: hostname}, "told", "kubelet.env", "", ""},
		"the kubelet's certificate before its flag":        {Names{Certificate: certificate, Told: told, Host: hostname}, "worker-1", certificate.Evidence, "", ""},
		"a person's word before all":                       {Names{Given: Said{"worker-1", given.Evidence}, Certificate: certificate, Told: told, Host: hostname}, "worker-1", given.Evidence, "", ""},
		"a person's word, and the host has another":        {Names{Given: given, Host: hostname}, "given", given.Evidence, "", ""},
		"a person's word against the kubelet's":            {Names{Given: given, Certificate: certificate, Host: hostname}, "given", given.Evidence, "the node is called given (node in multinicd.toml), and the cluster knows this machine as worker-1 (the kubelet's client certificate in x.pem)", `take node out of multinicd.toml (or --node off the command line), or set it to "worker-1"`},
		"a person's word against the kubelet's flag":       {Names{Given: given, Told: told, Host: hostname}, "given", given.Evidence, "the node is called given (node in multinicd.toml), and the cluster knows this machine as told (kubelet.env)", `take node out of multinicd.toml (or --node off the command line), or set it to "told"`},
		"a token of this node":                             {Names{Certificate: certificate, Host: hostname, Token: token("worker-1")}, "worker-1", certificate.Evidence, "", ""},
		"a token of another node":                          {Names{Host: hostname, Token: token("worker-1")}, "worker-1.novalocal", "the host's name", "the node is called worker-1.novalocal (the host's name), and the token in t is node worker-1's: the API server refuses what is asked for worker-1.novalocal with it", `join again as worker-1.novalocal (multinicd join), or, if worker-1 is right, set node = "worker-1" in multinicd.toml and restart multinicd`},
		"a token that says nothing, such as a publisher's": {Names{Host: hostname, Token: token("")}, "worker-1.novalocal", "the host's name", "", ""},
	} {
		t.Run(title, func(t *testing.T) {
			got := test.names.Choose()
			if got.Name != test.name || got.Evidence != test.by {
				t.Errorf("got %q by %q, want %q by %q", got.Name, got.Evidence, test.name, test.by)
			}
			if doubt, advice := got.Doubt(test.names.Token); doubt != test.doubt || advice != test.advice {
				t.Errorf("got doubt %q, %q\nwant      %q, %q", doubt, advice, test.doubt, test.advice)
			}
		})
	}
}
