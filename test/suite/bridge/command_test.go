package bridge

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
)

// The command itself, with leader election, as a cluster runs it.
func TestTheCommandRuns(t *testing.T) {
	c := newCluster(t)
	binary := bed.Build(t, "./cmd/bridge")
	if out, err := exec.CommandContext(t.Context(), binary, "version").Output(); err != nil || len(strings.TrimSpace(string(out))) == 0 {
		t.Errorf("version prints %q: %v", out, err)
	}

	for _, duty := range []bridge.Duty{bridge.Status, bridge.Credentials} {
		c.command(binary, duty)
	}
	n := c.node("command")
	n.say(n.report(n.publish(), v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done)
}

// command runs the command for a duty until the test ends, and looks at what it serves.
func (c *cluster) command(binary string, duty bridge.Duty) {
	t := c.t
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	user := "system:serviceaccount:" + v1.SystemNamespace + ":" + duty.Account()
	if err := c.WriteKubeconfig(kubeconfig, "", user); err != nil {
		t.Fatal(err)
	}
	health, metrics := c.freeAddresses()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, "run", "--duty", string(duty), "--kubeconfig", kubeconfig, "--leader-elect",
		"--health-address", health, "--metrics-address", metrics)
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			t.Log(lines.Text())
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: stopped by SIGTERM it ends with %v", duty, err)
		}
	})

	for _, url := range []string{"http://" + health + "/healthz", "http://" + health + "/readyz", "http://" + metrics + "/metrics"} {
		c.eventually(url+" answers", func() string {
			resp, err := http.Get(url)
			if err != nil {
				return err.Error()
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				return resp.Status + " " + string(body)
			}
			return ""
		})
	}
	// Go's profiles show what is in memory: tokens, too.
	for _, url := range []string{"http://" + health + "/debug/pprof/heap", "http://" + metrics + "/debug/pprof/heap"} {
		if resp, err := http.Get(url); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s, which nobody has asked for, answers %v (%v)", url, resp, err)
		} else if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

// freeAddresses are two at which nobody listens: at the control plane's own address nobody else comes and takes one.
func (c *cluster) freeAddresses() (string, string) {
	c.t.Helper()
	ip, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		c.t.Fatal(err)
	}
	var out [2]string
	for i := range out {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			c.t.Fatal(err)
		}
		defer l.Close() // when both are found, so that they are two
		out[i] = l.Addr().String()
	}
	return out[0], out[1]
}
