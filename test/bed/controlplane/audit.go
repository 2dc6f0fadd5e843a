package controlplane

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"multinicd/test/bed/artifact"
)

// auditPolicy is the policy that docs/audit.md has people copy, with a rule behind the others: of everything else who asked for what, without
// bodies. A watch counts when it is opened (ResponseStarted) and when it ends (ResponseComplete).
func auditPolicy() ([]byte, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return nil, err
	}
	ours, err := os.ReadFile(filepath.Join(root, "examples/audit/policy.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the audit policy: %w", err)
	}
	return append(ours, "\n- level: Metadata\n"...), nil
}

// Request is one line of the audit log.
type Request struct {
	Stage      string    `json:"stage"` // ResponseStarted (watches only), ResponseComplete, Panic
	AuditID    string    `json:"auditID"`
	Verb       string    `json:"verb"`
	RequestURI string    `json:"requestURI"`
	UserAgent  string    `json:"userAgent"`
	Received   time.Time `json:"requestReceivedTimestamp"`
	StageTime  time.Time `json:"stageTimestamp"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// Audit is the audit log as it lies on the disk, an entry in a line each. The API server writes an entry before the client has its answer.
func (c *Cluster) Audit() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, "audit.log"))
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return b[:bytes.LastIndexByte(b, '\n')+1], nil // the rest is being written
}

// Requests reads the audit log, one entry per request in the order in which they were answered; a watch counts
// once, when it is opened.
func (c *Cluster) Requests() ([]Request, error) {
	b, err := c.Audit()
	if err != nil {
		return nil, err
	}
	var requests []Request
	seen := map[string]bool{}
	for line := range bytes.Lines(b) {
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if !seen[r.AuditID] {
			seen[r.AuditID] = true
			requests = append(requests, r)
		}
	}
	return requests, nil
}

// AuditSize is where the audit log ends now, for AuditFrom.
func (c *Cluster) AuditSize() (int64, error) {
	info, err := os.Stat(filepath.Join(c.dir, "audit.log"))
	if err != nil {
		return 0, fmt.Errorf("reading the audit log: %w", err)
	}
	return info.Size(), nil
}

// AuditFrom gives see each entry from a place of the audit log on, both of a watch, in the order in which they were written. It holds one at a time.
func (c *Cluster) AuditFrom(place int64, see func(Request)) error {
	f, err := os.Open(filepath.Join(c.dir, "audit.log"))
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(place, io.SeekStart); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	for lines := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // the rest is being written
		}
		var r Request
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		see(r)
	}
}
