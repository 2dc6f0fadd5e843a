package chart

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"multinicd/test/bed"
	"multinicd/test/bed/kubelet"
)

// everything switches on what is off by default.
var everything = []string{"--set", "jobs.execution=auto,rollout.max=10%,publisher.create=true,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true," +
	"metrics.dashboard.enabled=true,imagePullSecrets[0].name=pull,bridge.priorityClassName=system-cluster-critical,bridge.podLabels.a=b,bridge.nodeLabel=true,apf.enabled=true," +
	"bridge.podAnnotations.a=b,bridge.nodeSelector.a=b,bridge.tolerations[0].operator=Exists,bridge.extraArgs[0]=--log-format=text," +
	"intake.enabled=true,intake.service.name=publishers,intake.clientCASecret=ca,intake.allowAnonymous=true,intake.publishers[0].name=viola,intake.publishers[0].providers[0]=provider-a," +
	"intake.from[0].namespaceSelector.matchLabels.a=b,intake.service.annotations.a=b,intake.extraArgs[0]=--max-nodes=10,intake.priorityClassName=x,intake.nodeSelector.a=b,intake.tolerations[0].operator=Exists," +
	"openstack.enabled=true,openstack.networks[0]=n,openstack.subnets[0]=s,openstack.tags[0]=a b,openstack.projects[0]=p,openstack.extraArgs[0]=--timeout=10s,openstack.priorityClassName=x,openstack.nodeSelector.a=b,openstack.tolerations[0].operator=Exists," +
	"legacyMode=readonly,legacy.extraArgs[0]=--log-format=text,legacy.priorityClassName=x,legacy.nodeSelector.a=b,legacy.tolerations[0].operator=Exists," +
	"networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b,metrics.serviceMonitor.labels.a=b,metrics.prometheusRule.labels.a=b"}

// object is what the tests look at.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Annotations     map[string]string
	}
	Data  map[string]string
	Spec  json.RawMessage
	Rules []struct{ Resources, Verbs []string }
}

// verbs are those of a Role on a resource.
func (o object) verbs(resource string) (out []string) {
	for _, r := range o.Rules {
		if slices.Contains(r.Resources, resource) {
			out = append(out, r.Verbs...)
		}
	}
	return out
}

func render(t *testing.T, args ...string) (map[string]object, error) {
	t.Helper()
	helm, err := kubelet.Helm(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), helm, append([]string{"template", "multinic", "charts/multinic", "--namespace", system}, args...)...)
	cmd.Dir = bed.Path(t, ".")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	objects := map[string]object{}
	for doc := range strings.SplitSeq(string(out), "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		if o.Kind == "" {
			continue
		}
		key := o.Kind + " " + o.Metadata.Namespace + "/" + o.Metadata.Name
		if _, twice := objects[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		objects[key] = o
	}
	return objects, nil
}

func TestWhatCredentialsLeanOnOutlivesTheRelease(t *testing.T) {
	objects, err := render(t, everything...)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]bool{"CustomResourceDefinition": true, "Namespace": true, "ValidatingAdmissionPolicy": true, "ValidatingAdmissionPolicyBinding": true}
	n := 0
	for key, o := range objects {
		// What is only about the older object goes with its phase: a policy that stayed would hold it read-only for good.
		want := kept[o.Kind] && !strings.HasPrefix(o.Metadata.Name, "multinic-legacy") || key == "ConfigMap multinic-system/multinic-admission" || key == "ConfigMap multinic-system/multinic-jobs" ||
			key == "ServiceAccount multinic-nodes/multinic-probe-tokens"
		if got := o.Metadata.Annotations["helm.sh/resource-policy"] == "keep"; got != want {
			t.Errorf("%s stays after helm uninstall: %t, want %t", key, got, want)
		}
		if want {
			n++
		}
	}
	if n < 15 {
		t.Errorf("%d objects stay; the chart has lost some", n)
	}
}

// In the last phase nothing of ours has to do with the older object, and its definition may be left out.
func TestNothingTouchesTheOlderObjectInTheEnd(t *testing.T) {
	const definition, plural = "CustomResourceDefinition /multinicbizconfigs.multinic.io", "multinicbizconfigs"
	with, err := render(t)
	if err != nil {
		t.Fatal(err)
	}
	without, err := render(t, "--set", "crds.older=false")
	if err != nil {
		t.Fatal(err)
	}
	if _, there := with[definition]; !there {
		t.Errorf("%s is not there by default", definition)
	}
	if want := len(with) - 1; len(without) != want {
		t.Errorf("without the definition there are %d objects, want %d", len(without), want)
	}
	for key, o := range without {
		// That policy says who may write its status: nobody that there is.
		if key != "ValidatingAdmissionPolicy /multinic-status" && (key == definition || len(o.verbs(plural)) > 0 || len(o.verbs(plural+"/status")) > 0 || strings.Contains(string(o.Spec), plural)) {
			t.Errorf("%s is about the older object", key)
		}
	}
	all, err := render(t, everything...)
	if err != nil {
		t.Fatal(err)
	}
	if role := all["Role multinic-system/multinic-legacy"]; len(role.verbs(plural)) == 0 {
		t.Error("while there is a publisher of the older object it may not read it: this test looks for the wrong thing")
	}
}

func TestOptionalPartsAreThereWhenAskedFor(t *testing.T) {
	with, err := render(t, everything...)
	if err != nil {
		t.Fatal(err)
	}
	without, err := render(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ServiceMonitor multinic-system/multinic-bridge", "PrometheusRule multinic-system/multinic", "ConfigMap multinic-system/multinic-dashboard",
		"ServiceAccount multinic-system/multinic-viola", "Role multinic-nodes/multinic-bridge-jobs", "Role multinic-nodes/multinic-credentials-jobs",
		"ClusterRole /multinic-bridge-node-label", "ClusterRoleBinding /multinic-bridge-node-label", "ValidatingAdmissionPolicy /multinic-node-label",
		"FlowSchema /multinic-nodes", "PriorityLevelConfiguration /multinic-nodes",
		"Deployment multinic-system/multinic-intake", "ServiceAccount multinic-system/multinic-intake", "Role multinic-system/multinic-intake", "ClusterRole /multinic-intake",
		"Service multinic-system/publishers", "NetworkPolicy multinic-system/multinic-intake", "ServiceMonitor multinic-system/multinic-intake",
		"Deployment multinic-system/multinic-openstack", "ServiceAccount multinic-system/multinic-openstack", "Role multinic-system/multinic-openstack", "ClusterRole /multinic-openstack",
		"NetworkPolicy multinic-system/multinic-openstack", "ServiceMonitor multinic-system/multinic-openstack", "Service multinic-system/multinic-openstack-metrics",
		"Deployment multinic-system/multinic-legacy", "ServiceAccount multinic-system/multinic-legacy", "Role multinic-system/multinic-legacy", "ClusterRole /multinic-legacy", "ClusterRole /multinic-migration", "Role multinic-system/multinic-migration",
		"NetworkPolicy multinic-system/multinic-legacy", "ServiceMonitor multinic-system/multinic-legacy", "Service multinic-system/multinic-legacy-metrics",
		"ValidatingAdmissionPolicy /multinic-legacy-bounds", "ValidatingAdmissionPolicyBinding /multinic-legacy-bounds",
		"ValidatingAdmissionPolicy /multinic-legacy-readonly", "ValidatingAdmissionPolicyBinding /multinic-legacy-readonly",
		"ServiceAccount multinic-system/viola", "Role multinic-system/viola"} {
		if with[key].Kind == "" {
			t.Errorf("%s is not there when it is asked for", key)
		}
		if without[key].Kind != "" {
			t.Errorf("%s is there by default", key)
		}
	}
	// Without Jobs there is no image, by which the policies refuse every Pod.
	const image = "ConfigMap multinic-system/multinic-jobs"
	for _, key := range []string{"ValidatingAdmissionPolicy /multinic-workloads", "ValidatingAdmissionPolicyBinding /multinic-workloads", image} {
		if with[key].Kind == "" || without[key].Kind == "" {
			t.Errorf("%s is not always there", key)
		}
	}
	if off, on := without[image].Data["image"], with[image].Data["image"]; off != "" || !strings.HasPrefix(on, "localhost/multinicd:") {
		t.Errorf("the image of the Jobs is %q without them, and %q with them", off, on)
	}
	// The bridge holds the credentials of all nodes: it reaches API servers, and is reached for its metrics.
	policy := string(without["NetworkPolicy multinic-system/multinic-bridge"].Spec)
	for _, part := range []string{`"policyTypes":["Ingress","Egress"]`, `"egress":[{"ports":[{"port":443,"protocol":"TCP"},{"port":6443,"protocol":"TCP"}]}]`,
		`"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"metrics":"enabled"}}}],"ports":[{"port":"metrics","protocol":"TCP"}]}]`, `"matchLabels":{"app.kubernetes.io/name":"multinic-bridge"`} {
		if !strings.Contains(policy, part) {
			t.Errorf("the NetworkPolicy has no %s: %s", part, policy)
		}
	}
	// Whoever opens the door, or asks a cloud, opens no metrics to everybody.
	for _, name := range []string{"multinic-bridge", "multinic-credentials", "multinic-intake", "multinic-openstack"} {
		if policy := string(with["NetworkPolicy multinic-system/"+name].Spec); !strings.Contains(policy, `{"from":[{"namespaceSelector":{"matchLabels":{"a":"b"}}}],"ports":[{"port":"metrics","protocol":"TCP"}]}`) {
			t.Errorf("whoever asks gets the metrics of %s: %s", name, policy)
		}
	}
	if !json.Valid([]byte(with["ConfigMap multinic-system/multinic-dashboard"].Data["multinic.json"])) {
		t.Error("the dashboard is no JSON")
	}
	if spec := string(with["PrometheusRule multinic-system/multinic"].Spec); !strings.Contains(spec, "MultinicBridgeDown") || !strings.Contains(spec, "{{ $labels.controller }}") {
		t.Errorf("the alerts are %s", spec)
	}
}

// Each phase has what it needs of the publisher of the older object, and no right more.
func TestThePhasesOfTheOlderObject(t *testing.T) {
	const deployment, role, policy = "Deployment multinic-system/multinic-legacy", "Role multinic-system/multinic-legacy", "ValidatingAdmissionPolicy /multinic-legacy-readonly"
	for mode, want := range map[string]struct{ runs, writes, readOnly bool }{
		"legacyMode=dual": {true, true, false}, "legacyMode=readonly": {true, false, true}, "legacyMode=off": {}, "legacyMode=false": {}, // what YAML makes of off
	} {
		t.Run(mode, func(t *testing.T) {
			objects, err := render(t, "--set", mode)
			if err != nil {
				t.Fatal(err)
			}
			if runs := objects[deployment].Kind != ""; runs != want.runs {
				t.Errorf("it runs: %t", runs)
			}
			if only := strings.Contains(string(objects[deployment].Spec), `"--read-only"`); only != want.readOnly {
				t.Errorf("it has --read-only: %t", only)
			}
			if is := objects[policy].Kind != ""; is != want.readOnly {
				t.Errorf("the policy is there: %t", is)
			}
			if writes := slices.Contains(objects[role].verbs("multinicnodeconfigs"), "patch"); writes != want.writes {
				t.Errorf("it may write objects: %t", writes)
			}
		})
	}
}

// The door is as safe as it can be unless somebody says otherwise: TLS, nobody without a name, and no NIC goes because a list has not got it.
func TestTheDoorIsShutByDefault(t *testing.T) {
	const deployment, service = "Deployment multinic-system/multinic-intake", "Service multinic-system/viola-api"
	byDefault, err := render(t, "--set", "intake.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := render(t, "--set", "intake.enabled=true,intake.plainHTTP=true,intake.service.port=80")
	if err != nil {
		t.Fatal(err)
	}
	all, err := render(t, everything...)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name       string
		spec       string
		has, lacks []string
	}{
		{"by default", string(byDefault[deployment].Spec), []string{"--removals=keep", "--unknown-nodes=wait", "--tls-cert-file=", `"secretName":"viola-api-tls"`, `"readOnlyRootFilesystem":true`, `"runAsNonRoot":true`},
			[]string{"--allow-anonymous", "--plain-http", "--client-ca-file"}},
		{"its Service", string(byDefault[service].Spec), []string{`"port":443`, `"type":"ClusterIP"`, `"app.kubernetes.io/name":"multinic-intake"`}, nil},
		{"without TLS", string(plain[deployment].Spec), []string{"--plain-http"}, []string{"--tls-cert-file", "secretName"}},
		{"its Service without TLS", string(plain[service].Spec), []string{`"port":80,`}, nil},
		{"with everything", string(all[deployment].Spec), []string{"--allow-anonymous", "--client-ca-file=", `"secretName":"ca"`, "--max-nodes=10"}, nil},
		{"who reaches it", string(all["NetworkPolicy multinic-system/multinic-intake"].Spec), []string{`{"from":[{"namespaceSelector":{"matchLabels":{"a":"b"}}}],"ports":[{"port":"door","protocol":"TCP"}]}`,
			`"egress":[{"ports":[{"port":443,"protocol":"TCP"},{"port":6443,"protocol":"TCP"}]}]`}, nil},
	} {
		for _, part := range row.has {
			if !strings.Contains(row.spec, part) {
				t.Errorf("%s there is no %s: %s", row.name, part, row.spec)
			}
		}
		for _, part := range row.lacks {
			if strings.Contains(row.spec, part) {
				t.Errorf("%s there is %s: %s", row.name, part, row.spec)
			}
		}
	}
}

func TestValuesThatAreNoneAreRefused(t *testing.T) {
	for name, value := range map[string]string{
		"a value that is not there":              "bridge.replica=3",
		"no replica":                             "bridge.replicas=0",
		"an unknown way":                         "jobs.execution=sometimes",
		"an audience with a comma":               `apiAudiences[0]=a\,b`,
		"no audience":                            "apiAudiences=",
		"a digest that is none":                  "bridge.image.digest=latest",
		"a flag without its dashes":              "bridge.extraArgs[0]=log-level",
		"a duration without a unit":              "bridge.silentAfter=360",
		"a share above all of them":              "rollout.max=200%",
		"a patience of less than a minute":       "rollout.patience=59s",
		"a port that is none":                    "networkPolicy.apiServerPorts[0]=70000",
		"a level that the bridge has not":        "bridge.logLevel=trace",
		"less than two renewals":                 "bridge.silentAfter=4m59s",
		"less than the bridge starts with":       "jobs.deadline=59s",
		"no share of an API server":              "apf.shares=0",
		"another word for what lists mean":       "intake.removals=sometimes",
		"no cloud to ask":                        "openstack.clouds=",
		"a network that is a flag":               "openstack.networks[0]=--mtu",
		"a tag that is two":                      "openstack.tags[0]=a\\,b",
		"a phase that is none":                   "legacyMode=both",
		"no rate":                                "intake.rate=0",
		"a provider that cannot be one":          "intake.publishers[0].name=a,intake.publishers[0].providers[0]=a/b",
		"a publisher without a provider":         "intake.publishers[0].name=a,intake.publishers[0].providers=",
		"a publisher with the bridge's identity": "intake.publishers[0].name=multinic-bridge,intake.publishers[0].providers[0]=a",
		"clients' certificates without TLS":      "intake.plainHTTP=true,intake.clientCASecret=ca",
		"a quota for no node":                    "quotas.nodes=0",
		"a label that the Deployment selects by": `bridge.podLabels.app\.kubernetes\.io/name=x`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := render(t, "--set", value); err == nil {
				t.Errorf("%s is taken", value)
			}
		})
	}
}
