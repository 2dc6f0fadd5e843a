package examples

import (
	"os"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// auditPolicy is what our example uses of audit.k8s.io/v1.
type auditPolicy struct {
	Version           string      `json:"apiVersion"`
	Kind              string      `json:"kind"`
	OmitStages        []string    `json:"omitStages"`
	OmitManagedFields bool        `json:"omitManagedFields"`
	Rules             []auditRule `json:"rules"`
}

type auditRule struct {
	Level      string   `json:"level"`
	Users      []string `json:"users"`
	UserGroups []string `json:"userGroups"`
	Verbs      []string `json:"verbs"`
	Namespaces []string `json:"namespaces"`
	Resources  []struct {
		Group     string   `json:"group"`
		Resources []string `json:"resources"`
	} `json:"resources"`
}

// The audit log is read by many: only objects that hold no secret stand in it with their text.
func TestTheAuditPolicyLogsTheTextOfOurObjectsAlone(t *testing.T) {
	text, err := os.ReadFile("audit/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p auditPolicy
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		t.Fatal(err)
	}
	if p.Version != "audit.k8s.io/v1" || p.Kind != "Policy" || len(p.Rules) == 0 {
		t.Errorf("got a %s of %s with %d rules", p.Kind, p.Version, len(p.Rules))
	}
	plain := []string{"multinicnodeconfigs", "multinicnodeconfigs/status", "multinicnoderuns"}
	for i, rule := range p.Rules {
		if rule.Level == "Metadata" || rule.Level == "None" {
			continue
		}
		if rule.Level != "Request" && rule.Level != "RequestResponse" {
			t.Errorf("rule %d has the level %q", i, rule.Level)
		}
		if len(rule.Resources) == 0 {
			t.Errorf("rule %d logs the text of everything", i)
		}
		for _, of := range rule.Resources {
			if of.Group != "multinic.io" || len(of.Resources) == 0 {
				t.Errorf("rule %d logs the text of %q", i, of.Group)
			}
			for _, resource := range of.Resources {
				if !slices.Contains(plain, resource) {
					t.Errorf("rule %d logs the text of %s", i, resource)
				}
			}
		}
	}
}
