package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// report010 is a report as 0.1.0 knew it. A cluster has nodes of a newer version than the bridge whenever nodes are upgraded first.
type report010 struct {
	Schema     string     `json:"schema"`
	Node       string     `json:"node"`
	UID        string     `json:"uid"`
	Generation int64      `json:"generation"`
	SpecHash   string     `json:"specHash"`
	Executor   string     `json:"executor"`
	Version    string     `json:"version"`
	Phase      string     `json:"phase"`
	JobName    string     `json:"jobName"`
	Run        string     `json:"run"`
	Refused    *remark010 `json:"refused"`
	Degraded   *remark010 `json:"degraded"`
	Interfaces []struct {
		ID             int32      `json:"id"`
		Name           string     `json:"name"`
		MACAddress     string     `json:"macAddress"`
		Status         string     `json:"status"`
		Reason         string     `json:"reason"`
		Message        string     `json:"message"`
		Address        string     `json:"address"`
		MTU            int32      `json:"mtu"`
		LastConfigured *time.Time `json:"lastConfigured"`
	} `json:"interfaces"`
}

type remark010 struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

var (
	mac010    = regexp.MustCompile(`^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$`)
	reason010 = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,63}$`)
	words010  = map[string]string{
		"executor": " daemon job ", "phase": " Applying Done Removed ", "status": " Pending InProgress Configured Failed ",
	}
)

// parse010 says why the bridge of 0.1.0 would refuse a report: its rules, as they were.
func parse010(data []byte) error {
	if len(data) > 32<<10 {
		return fmt.Errorf("it has %d bytes", len(data))
	}
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var r report010
	if err := dec.Decode(&r); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	wrong := ""
	text := func(field, s string, least, most int) {
		if len(s) < least || len(s) > most || strings.ContainsFunc(s, func(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }) {
			wrong += fmt.Sprintf("%s is %q; ", field, s)
		}
	}
	word := func(field, s string) {
		if s == "" || !strings.Contains(words010[field], " "+s+" ") {
			wrong += fmt.Sprintf("%s is %q; ", field, s)
		}
	}
	reason := func(s string) {
		if !reason010.MatchString(s) {
			wrong += fmt.Sprintf("a reason is %q; ", s)
		}
	}
	if r.Schema != "multinic.io/report/v1" || r.Generation < 1 || len(r.Interfaces) > 64 {
		wrong += fmt.Sprintf("schema %q, generation %d, %d interfaces; ", r.Schema, r.Generation, len(r.Interfaces))
	}
	text("node", r.Node, 1, 200)
	text("uid", r.UID, 1, 64)
	text("specHash", r.SpecHash, 0, 253)
	text("version", r.Version, 0, 64)
	text("jobName", r.JobName, 0, 253)
	text("run", r.Run, 0, 64)
	word("executor", r.Executor)
	word("phase", r.Phase)
	for _, m := range []*remark010{r.Refused, r.Degraded} {
		if m != nil {
			reason(m.Reason)
			text("message", m.Message, 0, 256)
		}
	}
	seen := map[int32]bool{}
	for _, n := range r.Interfaces {
		if n.ID < 0 || n.ID > 9999 || seen[n.ID] {
			wrong += fmt.Sprintf("id %d; ", n.ID)
		}
		seen[n.ID] = true
		if n.MACAddress != strings.ToLower(n.MACAddress) || !mac010.MatchString(n.MACAddress) {
			wrong += fmt.Sprintf("MAC %q; ", n.MACAddress)
		}
		word("status", n.Status)
		reason(n.Reason)
		if p, err := netip.ParsePrefix(n.Address); n.Address != "" && (err != nil || p.Addr().Is4In6()) {
			wrong += fmt.Sprintf("address %q; ", n.Address)
		}
		if n.MTU < 0 || n.MTU > 65535 {
			wrong += fmt.Sprintf("mtu %d; ", n.MTU)
		}
		if t := n.LastConfigured; t != nil && (t.Unix() < 0 || t.UTC().Year() > 9999) {
			wrong += fmt.Sprintf("time %s; ", t)
		}
		text("name", n.Name, 0, 15)
		text("message", n.Message, 0, 256)
	}
	if wrong != "" {
		return errors.New(wrong)
	}
	return nil
}
