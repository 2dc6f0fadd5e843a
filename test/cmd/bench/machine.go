package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/measure"
)

// machine is what the numbers depend on.
type machine struct {
	Cores     int     `json:"cores"`
	Processor string  `json:"processor"`
	Memory    float64 `json:"memoryGiB"`
	Kernel    string  `json:"kernel"`
	Go        string  `json:"go"`
	Cluster   string  `json:"kubernetes"`
	Host      string  `json:"host"`
	// Sync is how long a small file takes to be written and synced where the host keeps its state, its folder too, p50 in milliseconds.
	Sync float64 `json:"durableWriteMs"`
}

func (s *stand) describe(ctx context.Context) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOARCH, Processor: field("/proc/cpuinfo", "model name")}
	var kilobytes float64
	_, _ = fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kilobytes) // 0 where the kernel writes it otherwise
	m.Memory = kilobytes / (1 << 20)
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return m, fmt.Errorf("asking for the kernel's release: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(uname.Release[:])
	out, err := s.cluster.Kubectl(ctx, "version")
	if err != nil {
		return m, fmt.Errorf("asking for the cluster's version: %w", err)
	}
	_, m.Cluster, _ = strings.Cut(out, "Server Version: ")
	m.Cluster = strings.TrimSpace(m.Cluster)
	out, err = s.host.Shell(ctx, `. /etc/os-release; echo "$PRETTY_NAME"; dpkg-query -W -f '${Package} ${Version}\n' systemd netplan.io iproute2`)
	if err != nil {
		return m, err
	}
	m.Host = strings.Join(strings.Split(strings.TrimSpace(out), "\n"), ", ")
	m.Sync, err = durableWrite(fmt.Sprintf("/proc/%d/root/var/lib/multinicd", s.host.Leader()))
	return m, err
}

func (m machine) text() string {
	return measure.Table([][]string{
		{"", ""},
		{"cores", fmt.Sprintf("%d, %s, shared by control plane, bridge, host and the measuring itself", m.Cores, m.Processor)},
		{"memory", measure.Number(m.Memory) + " GiB"},
		{"kernel", "Linux " + m.Kernel},
		{"control plane", "Kubernetes " + m.Cluster + ", with the audit log on"},
		{"host", m.Host + ", in a container with its own network"},
		{"a small file written and synced on the host's disk", measure.Number(m.Sync) + " ms (p50)"},
		{"Go", m.Go},
	})
}

// durableWrite takes the time of what the product does for each file: write, sync, rename, sync the folder.
func durableWrite(dir string) (float64, error) {
	var took []float64
	for range 50 {
		begin := time.Now()
		if err := writeOnce(filepath.Join(dir, ".bench")); err != nil {
			return 0, fmt.Errorf("measuring the disk: %w", err)
		}
		took = append(took, ms(time.Since(begin)))
	}
	return measure.Quantile(took, 50), os.Remove(filepath.Join(dir, ".bench"))
}

func writeOnce(name string) error {
	f, err := os.Create(name + "-new")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1000)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(name+"-new", name); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// field is the first value of a key in a file of /proc.
func field(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
