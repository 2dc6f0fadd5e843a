package chart

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// podToken is what the kubelet has put into the Pod: bound to it, for an hour, for this node alone, and worth nothing once the Pod is gone.
func (c *cluster) podToken() {
	const never, other = "02:00:00:00:01:99", "worker-node-of-somebody-else"
	c.publish(other, 1500) // nobody is there
	c.publish(c.name, 1405, never)
	var token string
	var claims struct {
		Subject    string `json:"sub"`
		Issued     int64  `json:"iat"`
		Expires    int64  `json:"exp"`
		Kubernetes struct {
			Pod struct{ Name, UID string } `json:"pod"`
		} `json:"kubernetes.io"`
	}
	// As the process has it: the kubelet's folders are in a mount namespace of their own here. It waits for no NIC by itself, so it runs again and again.
	eventually(c.t, "the token of a Pod can be read", func(ctx context.Context) string {
		out, err := c.node.Shell(ctx, "for p in $(pgrep -x multinicd); do cat /proc/$p/root/var/run/secrets/kubernetes.io/serviceaccount/token && exit; done; exit 1")
		if err != nil {
			return err.Error()
		}
		token = strings.TrimSpace(out)
		middle := strings.Split(token, ".")
		if len(middle) != 3 {
			return fmt.Sprintf("the token has %d parts", len(middle))
		}
		text, err := base64.RawURLEncoding.DecodeString(middle[1])
		if err == nil {
			err = json.Unmarshal(text, &claims)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	pod := c.kubectl("get", "pod", "-n", nodes, claims.Kubernetes.Pod.Name, "-o", "jsonpath={.metadata.uid} {.spec.nodeName}")
	if pod != claims.Kubernetes.Pod.UID+" "+c.name {
		c.t.Errorf("the token is bound to %q, want a Pod on %s: %s", claims.Kubernetes.Pod, c.name, pod)
	}
	if want := "system:serviceaccount:multinic-nodes:multinic-node-" + c.name; claims.Subject != want {
		c.t.Errorf("the token is that of %s, want %s", claims.Subject, want)
	}
	if life := time.Duration(claims.Expires-claims.Issued) * time.Second; life > 61*time.Minute {
		c.t.Errorf("the token lives for %s, want an hour", life)
	}
	with := func(ctx context.Context, args ...string) string {
		out, err := c.Kubectl(ctx, append([]string{"--kubeconfig=/dev/null", "--server=" + c.URL, "--insecure-skip-tls-verify", "--token=" + token}, args...)...)
		switch {
		case err == nil:
			return "yes " + out
		case strings.Contains(err.Error(), "Forbidden") || strings.Contains(err.Error(), "forbidden"):
			return "forbidden"
		case strings.Contains(err.Error(), "Unauthorized") || strings.Contains(err.Error(), "must be logged in"):
			return "unauthorized"
		}
		return err.Error()
	}
	ctx := c.t.Context()
	if got := with(ctx, "get", "mnnc", "-n", system, c.name, "-o", "name"); !strings.HasPrefix(got, "yes ") {
		c.t.Errorf("the node's own object: %s", got)
	}
	for _, args := range []string{"get mnnc -n multinic-system " + other, "get mnnc -n multinic-system", "get configmap -n multinic-nodes multinic-report-" + other,
		"get jobs -n multinic-nodes", "get pods -n multinic-nodes " + claims.Kubernetes.Pod.Name, "get secrets -n multinic-nodes", "create token -n multinic-nodes multinic-node-" + other} {
		if got := with(ctx, strings.Fields(args)...); got != "forbidden" {
			c.t.Errorf("%s: %s, want it forbidden", args, got)
		}
	}
	c.kubectl("delete", "mnnc", "-n", system, other)
	c.publish(c.name, 1406)
	c.configured()
	eventually(c.t, "the token of a Pod that is gone is worth nothing", func(ctx context.Context) string {
		if got := with(ctx, "get", "mnnc", "-n", system, c.name, "-o", "name"); got != "unauthorized" {
			return got
		}
		return ""
	})
}

// deadline: a NIC is waited for until then; what was said by then stays, and a trigger makes another Job.
func (c *cluster) deadline() {
	const late = "02:00:00:00:01:04"
	c.runHelm("upgrade", "multinic", "charts/multinic", "--namespace", system, "--reset-then-reuse-values", "--set", "jobs.deadline=1m", "--wait", "--timeout", "3m")
	before := len(c.jobs(c.name))
	c.publish(c.name, 1407, absent, late)
	job, _ := c.running(c.name)
	if d := job.Spec.ActiveDeadlineSeconds; d == nil || *d != 60 {
		c.t.Errorf("the Job's deadline is %v s, want 60", d)
	}
	eventually(c.t, "the Job has met its deadline", func(context.Context) string {
		for _, j := range c.jobs(c.name) {
			for _, condition := range j.Status.Conditions {
				if j.UID == job.UID && condition.Type == batchv1.JobFailed && condition.Status == corev1.ConditionTrue && condition.Reason == batchv1.JobReasonDeadlineExceeded {
					return ""
				}
			}
		}
		return fmt.Sprintf("%+v", job.Status)
	})
	c.hasMTU(1407)
	waits := func() {
		c.t.Helper()
		s := c.object().Status
		ready := metav1.Condition{}
		for _, condition := range s.Conditions {
			if condition.Type == v1.ConditionReady {
				ready = condition
			}
		}
		if s.State != v1.StatePending || ready.Reason != v1.ReasonInterfacesWaiting || s.LastJobName != job.Name {
			c.t.Errorf("after the deadline the status is %+v", s)
		}
	}
	waits()
	if err := c.node.Plug(testhost.NIC{MAC: late, Segment: "data4"}); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // in which nobody is there to see it
	waits()
	if now := len(c.jobs(c.name)); now != before+1 {
		c.t.Errorf("%d Jobs were made, want one", now-before)
	}
	kubeconfig := filepath.Join(c.t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(kubeconfig, "", "operator", "system:masters"); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(c.t.Context(), bed.Build(c.t, "./cmd/bridge"), "trigger", "--node", c.name, "--wait", "--timeout", "2m")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Errorf("triggered after the deadline: %v\n%s", err, out)
	}
	c.configured()
}
