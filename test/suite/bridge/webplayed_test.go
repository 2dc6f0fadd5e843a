package bridge

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	v1 "multinicd/api/v1"
	"multinicd/internal/web/webtest"
	"multinicd/test/bed"
	"multinicd/test/bed/browser"
	"multinicd/test/bed/prerequisite"
)

var update = flag.Bool("update", false, "take the pictures in docs/ anew")

// countSeen is how many nodes the page says to show.
const countSeen = `document.getElementById("count").textContent`

// The page with many nodes, of an API server that is played: to create ten thousand objects with
// their reports takes a real one minutes.
func TestThePageWithThousandsOfNodes(t *testing.T) {
	binary := bed.Build(t, "./cmd/bridge")
	for _, nodes := range append([]int{1000}, prerequisite.Long(10_000)...) {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			api := webtest.New(t)
			now := time.Now()
			api.Put(webtest.Fleet(t, nodes, now)...)
			api.Put(webtest.Event(webtest.NodeName(13), "a", "Normal", v1.ReasonApplying, "the node works on generation 3", now.Add(-13*time.Minute)),
				webtest.Event(webtest.NodeName(13), "b", "Warning", v1.ReasonInterfacesFailed, "1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2", now.Add(-12*time.Minute)))
			address, _ := servePage(t, binary, playedKubeconfig(t, api))
			b := browser.New(t)
			count := thousands(nodes)
			b.Open(address)
			b.Sees(countSeen, count+" of "+count+" nodes")
			mark := func(name string) time.Duration {
				return time.Duration(browser.Eval[float64](b, `performance.getEntriesByName("`+name+`")[0].startTime`) * float64(time.Millisecond)).Round(time.Millisecond)
			}
			t.Logf("%d nodes, nothing read before: the first row after %s, all rows after %s", nodes, mark("first-row"), mark("all-rows"))
			b.Reload()
			b.Sees(countSeen, count+" of "+count+" nodes")
			t.Logf("loaded again: the first row after %s, all rows after %s", mark("first-row"), mark("all-rows"))
			fewRows := func() {
				t.Helper()
				if n := browser.Eval[int](b, `document.querySelectorAll("#rows tr").length`); n > 100 {
					t.Errorf("%d rows are in the document", n)
				}
			}
			fewRows()
			pictures(t, b, nodes)
			scrolls(t, b, api, now)
			fewRows()
			b.Press("/" + browser.Escape + browser.End)
			b.Sees(`document.getElementById("active")?.querySelector(".node").textContent`, webtest.NodeName(nodes-1))
			begin := time.Now()
			b.Type("#q", webtest.NodeName(nodes-13))
			b.Sees(countSeen, "1 of "+count+" nodes")
			t.Logf("a name is typed and found within %s", time.Since(begin).Round(time.Millisecond))
			b.Click("#clear")
			api.Stop()
			b.Sees(`document.getElementById("notices").textContent.startsWith("The API server does not answer: ")`, "true")
			api.Start()
			b.Sees(`document.getElementById("notices").children.length`, "0")
			if said := b.Complaints(); len(said) > 0 {
				t.Errorf("the browser complains: %q", said)
			}
		})
	}
}

// scrolls goes through all rows while some change, and says how long the browser takes for a frame.
func scrolls(t *testing.T, b *browser.Browser, api *webtest.API, now time.Time) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			o := webtest.Object(i%900, now)
			o.Status.ReadyInterfaces = fmt.Sprintf("%d/2", i%3)
			api.Put(o)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond): // fifty changes a second
			}
		}
	}()
	frames := browser.Eval[[]float64](b, `new Promise(done => {
		const box = document.getElementById("scroll"), frames = [], by = Math.ceil(box.scrollHeight / 120);
		let last = performance.now();
		const step = (now) => { frames.push(now - last); last = now; box.scrollTop += by; if (frames.length < 120) requestAnimationFrame(step); else done(frames); };
		requestAnimationFrame(step);
	})`)
	close(stop)
	<-done
	slices.Sort(frames)
	t.Logf("scrolling through all rows, with fifty changes a second: half of the frames within %.0f ms, 95 of 100 within %.0f ms, the longest %.0f ms", frames[len(frames)/2], frames[len(frames)*95/100], frames[len(frames)-1])
}

// pictures are those of docs/. They are taken with -update, and are small.
func pictures(t *testing.T, b *browser.Browser, nodes int) {
	t.Helper()
	take := func(name string) {
		path := filepath.Join(bed.Path(t, "docs/pictures"), name+".png")
		if *update {
			b.Picture(path)
		}
		if info, err := os.Stat(path); err != nil || info.Size() > 150_000 {
			t.Errorf("%s is missing, or has more than 150,000 bytes: %v", path, err)
		}
	}
	b.Size(1280, 640)
	if nodes > 1000 {
		take("fleet-10000")
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		b.Scheme(scheme)
		take("fleet-" + scheme)
		b.Click(`#rows a[href$="node=` + webtest.NodeName(13) + `"]`)
		b.Sees(`document.querySelectorAll("#nics tbody tr").length`, "2")
		b.Sees(`document.querySelectorAll("#events tbody tr").length`, "2")
		b.Size(1280, 960)
		take("node-" + scheme)
		b.Size(1280, 640)
		b.Press(browser.Escape)
	}
}

func thousands(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }

func playedKubeconfig(t *testing.T, api *webtest.API) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["played"] = &clientcmdapi.Cluster{Server: api.Config().Host}
	cfg.Contexts["played"] = &clientcmdapi.Context{Cluster: "played"}
	cfg.CurrentContext = "played"
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// servePage runs fleet --web. end interrupts it, as ctrl-c does, and waits.
func servePage(t *testing.T, binary, kubeconfig string, args ...string) (address string, end func()) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, append([]string{"fleet", "--web", "--kubeconfig", kubeconfig}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGINT)
			if err := cmd.Wait(); err != nil {
				t.Errorf("fleet --web ends with %v after ctrl-c: %s", err, stderr.String())
			}
		})
	}
	t.Cleanup(end)
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if address = strings.TrimSpace(address); err != nil || !strings.HasPrefix(address, "http://127.0.0.1:") {
		t.Fatalf("fleet --web prints %q, %v: %s", address, err, stderr.String())
	}
	return address, end
}
