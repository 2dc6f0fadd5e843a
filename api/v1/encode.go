package v1

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NoMAC stands in the row of an entry whose MAC address cannot be read.
const NoMAC = "00:00:00:00:00:00"

// Encode gives the report as JSON that ParseReport accepts, also the ParseReport of 0.1.0.
//
// To fit, Encode changes a copy of the report; the receiver stays as it is. Messages lose the
// characters that cannot be printed, and are cut to MaxMessage bytes. They are cut further where
// the whole report would be longer than MaxReportSize. Values of a row that are out of bounds are
// left out: a kernel, or an old object, may have such values. A row without an id of its own gets
// an id that no other row has.
//
// The same report gives the same bytes. An error is a mistake of the caller: the node, the uid, the
// phase, a state or a reason is not as ParseReport wants it.
func (r Report) Encode() ([]byte, error) {
	r.Schema = ReportSchema
	if r.Interfaces == nil {
		r.Interfaces = []InterfaceStatus{}
	}
	var data []byte
	for limit := MaxMessage; ; limit /= 2 {
		short := r.shortened(limit)
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(short); err != nil {
			return nil, fmt.Errorf("encoding report: %w", err)
		}
		data = bytes.TrimRight(buf.Bytes(), "\n")
		if len(data) <= MaxReportSize || limit == 0 {
			break
		}
	}
	if _, err := ParseReport(data); err != nil {
		return nil, fmt.Errorf("encoding report: %w", err)
	}
	return data, nil
}

// shortened is a copy with every message printable and at most limit bytes.
func (r Report) shortened(limit int) Report {
	remark := func(m *Remark) *Remark {
		if m == nil {
			return nil
		}
		return &Remark{Reason: m.Reason, Message: Printable(m.Message, limit), Outcome: m.Outcome}
	}
	r.Refused, r.Degraded = remark(r.Refused), remark(r.Degraded)
	r.SpecHash, r.Run = orNothing(r.SpecHash, maxText), orNothing(r.Run, maxRun)
	r.Version, r.JobName = Printable(r.Version, maxVersion), Printable(r.JobName, maxText)
	r.Interfaces = append([]InterfaceStatus{}, r.Interfaces...)
	seen := map[string]bool{}
	for i := range r.Interfaces {
		n := &r.Interfaces[i]
		n.Message = Printable(n.Message, limit)
		if n.LastRepair != nil {
			n.LastRepair = &Repair{n.LastRepair.Time, max(0, n.LastRepair.Count), Printable(n.LastRepair.Message, limit)}
		}
		n.fit()
		if seen[n.MACAddress] {
			n.MACAddress = NoMAC
		}
		seen[n.MACAddress] = true
	}
	number(r.Interfaces)
	return r
}

// orNothing is s where a report takes s, else "". Half of a name names nothing.
func orNothing(s string, limit int) string {
	if Printable(s, limit) != s {
		return ""
	}
	return s
}

// fit leaves out of a row what a report does not take. Examples are an address in a spelling, or an
// MTU of a size, that only a kernel has; the time of a clock that is far off; a name that is too
// long; and what an old object has instead of a MAC address.
func (n *InterfaceStatus) fit() {
	n.Name = orNothing(n.Name, maxName)
	if n.MACAddress = strings.ToLower(n.MACAddress); !macForm().MatchString(n.MACAddress) {
		n.MACAddress = NoMAC
	}
	if _, err := parsePrefix(n.Address); err != nil {
		n.Address = ""
	}
	if n.MTU < 0 || n.MTU > maxMTU {
		n.MTU = 0
	}
	if n.LastConfigured != nil {
		utc := metav1.NewTime(n.LastConfigured.UTC())
		n.LastConfigured = &utc
		if !inYears(utc) {
			n.LastConfigured = nil
		}
	}
	if r := n.LastRepair; r != nil {
		if r.Time = metav1.NewTime(r.Time.UTC()); !inYears(r.Time) {
			n.LastRepair = nil
		}
	}
}

// number gives a new id to each row whose id is out of range or is taken by an earlier row. The new
// id is the greatest that is free. A bridge of 0.1.0 goes by MAC addresses too, but refuses a
// report in which an id stands twice.
func number(rows []InterfaceStatus) {
	taken := map[int32]bool{}
	var without []*InterfaceStatus
	for i := range rows {
		n := &rows[i]
		if n.ID < 0 || n.ID > MaxID || taken[n.ID] {
			without = append(without, n)
			continue
		}
		taken[n.ID] = true
	}
	free := int32(MaxID)
	for _, n := range without {
		for taken[free] {
			free--
		}
		n.ID, taken[free] = free, true
	}
}

// inYears says whether the API server takes the year of t. The API server would refuse the whole
// status for one bad year, and the last status would then stand for ever.
func inYears(t metav1.Time) bool { return t.Unix() >= 0 && t.UTC().Year() <= 9999 }

// Printable is s without the characters that cannot be printed: control, format and invalid ones.
// White space becomes one space. The result is cut at a rune to at most limit bytes.
func Printable(s string, limit int) string {
	s = strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case c == utf8.RuneError || !unicode.IsPrint(c):
			return -1
		}
		return c
	}, s)), " ")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
