package web

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal/hostile"
	"multinicd/internal/web/webtest"
)

// filled is a hub that has read these objects.
func filled(t *testing.T, all ...client.Object) *hub {
	t.Helper()
	h, err := newHub(away, nil)
	if err != nil {
		t.Fatal(err)
	}
	by := map[int][]any{}
	for _, o := range all {
		source := map[reflect.Type]int{
			reflect.TypeFor[*v1.MultiNicNodeConfig](): objects, reflect.TypeFor[*corev1.ConfigMap](): reports, reflect.TypeFor[*coordinationv1.Lease](): leases,
			reflect.TypeFor[*corev1.ServiceAccount](): accounts, reflect.TypeFor[*v1.NodeTokenRequest](): requests, reflect.TypeFor[*corev1.Event](): events,
		}[reflect.TypeOf(o)]
		if o.GetName() == v1.BlockedName {
			source = blocked
		}
		by[source] = append(by[source], o)
	}
	for source := sourceCount - 1; source >= 0; source-- { // the objects come last
		h.replace(source, by[source])
	}
	return h
}

func TestANodesPageSaysWhatIsWantedWhatIsThereAndWhy(t *testing.T) {
	name := webtest.NodeName(13)
	o := webtest.Object(13, now)
	all := append(webtest.Node(t, 13, now)[1:], o)
	o.Spec.Interfaces[0].Gateway = "10.100.0.1"
	o.Spec.Interfaces[0].Routes = []v1.Route{{To: "172.16.0.0/12", Via: "10.100.0.1", Metric: new(int64(50)), Table: new(int64(7))}}
	o.Spec.Interfaces[1].Address, o.Spec.Interfaces[1].CIDR, o.Spec.Interfaces[1].Addresses = "10.9.0.5", "10.9.0.0/24", []string{"10.9.0.6/24"}
	o.Status.ReleasedGeneration = 2
	o.Status.Conditions = append(o.Status.Conditions, metav1.Condition{Type: "Other", Status: "True", Reason: v1.ReasonJobStuck})
	in := func(name, component string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name, Labels: map[string]string{v1.ComponentLabel: component}}
	}
	joining := &corev1.ServiceAccount{ObjectMeta: in(v1.JoinAccountName(name), v1.ComponentJoin)}
	joining.Annotations = map[string]string{v1.ReplaceAnnotation: "true", v1.ExpiresAnnotation: "2026-12-01T00:00:00Z"}
	request := &v1.NodeTokenRequest{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name}, Spec: v1.NodeTokenRequestSpec{Door: v1.DoorJoinToken},
		Status: v1.NodeTokenRequestStatus{Reason: v1.ReasonNodeBlocked, Message: "blocked", SealedToken: []byte("SEALED")}}
	list := &corev1.ConfigMap{ObjectMeta: in(v1.BlockedName, ""), Data: map[string]string{name: "2026-11-30T00:00:00Z"}}
	old, late := webtest.Event(name, "a", "Normal", "Settled", "two", now.Add(-time.Hour)), webtest.Event(name, "b", "Warning", "NameTaken", "one", now)
	h := filled(t, append(all, joining, request, list, old, late, webtest.Event("another", "c", "Normal", "Settled", "of another", now))...)
	got := h.detailOf(name)
	got.Row = Row{} // see TestTheTableSaysHowNodesAre
	made := now.Add(-40 * 24 * time.Hour).Unix()
	since := now.Add(-20 * time.Hour).Unix()
	mac := func(n int) string { return fmt.Sprintf("02:00:00:0d:%02x:01", n) }
	want := Detail{
		Known: true,
		Facts: []Fact{{Name: "Object", Text: "generation 3", At: made}, {Name: "Instance", Text: "6f1d2c3b-0000-4000-8000-000000000013"},
			{Name: "Reported", At: now.Add(-13 * time.Minute).Unix()}, {Name: "Report", Text: "Done, of generation 3, by daemon"}},
		Interfaces: []NIC{
			{Name: "multinic1", MAC: mac(1), Wanted: []string{"10.100.0.13/16", "MTU 1450", "gateway 10.100.0.1", "route to 172.16.0.0/12 via 10.100.0.1 metric 50 table 7"},
				There: []string{"10.100.0.13/16", "MTU 1450"}, State: "Configured", Reason: "Configured", Since: since},
			{Name: "multinic2", MAC: mac(2), Wanted: []string{"10.9.0.5/24", "10.9.0.6/24", "MTU 1450"}, There: []string{"10.101.0.13/16", "MTU 1450"},
				State: "Failed", Reason: "NameTaken", Message: "another link is called multinic2", Outcome: "Refused", Advice: advice("NameTaken"), Since: since},
		},
		Conditions: []Condition{
			{Type: "Ready", Status: "False", Reason: "InterfacesFailed", Message: "1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2", Since: since},
			{Type: "Progressing", Status: "False", Reason: "Settled", Since: since},
			{Type: "Degraded", Status: "True", Reason: "InterfacesFailed", Message: "1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2", Since: since},
			{Type: "Other", Status: "True", Reason: "JobStuck", Advice: advice("JobStuck")},
		},
		Events:  []Event{{"Warning", "NameTaken", "one", 1, now.Unix()}, {"Normal", "Settled", "two", 1, now.Add(-time.Hour).Unix()}},
		Rollout: []Fact{{Name: "Wanted", Text: "generation 3"}, {Name: "Observed", Text: "generation 3"}, {Name: "Released", Text: v1.WaitingForReleaseMessage}},
		Token: []Fact{{Name: "Blocked", Text: "since 2026-11-30T00:00:00Z"}, {Name: "Identity made", At: made}, {Name: "Lease", At: now.Add(-50 * time.Second).Unix()},
			{Name: "Join token", Text: "not used yet, may replace a machine that has joined, ends at 2026-12-01T00:00:00Z"},
			{Name: "Request for a token", Text: "JoinToken: refused: NodeBlocked: blocked"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if advice("NameTaken") == "" || advice("Configured") != "" || advice("NoSuchReason") != "" {
		t.Error("the advice is not that of docs/reasons.md")
	}
	data, err := json.Marshal(h.detailOf(name))
	if err != nil || strings.Contains(string(data), "SEALED") || strings.Contains(string(data), "U0VBTEVE") {
		t.Errorf("a token goes out: %v %s", err, data)
	}
	if got := h.detailOf("nobody"); got.Known || got.Interfaces != nil || got.Events != nil {
		t.Errorf("a node that is not there: %+v", got)
	}
}

func TestNodesWithoutAnObjectAreShown(t *testing.T) {
	without := func(i int, change func(*v1.Report)) []client.Object {
		all := webtest.Node(t, i, now)[1:]
		cm, ok := all[0].(*corev1.ConfigMap)
		if !ok {
			t.Fatalf("the report is a %T", all[0])
		}
		r, err := v1.ParseReport([]byte(cm.Data[v1.ReportKey]))
		if err != nil {
			t.Fatal(err)
		}
		change(&r)
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		cm.Data[v1.ReportKey] = string(data)
		return all
	}
	all := without(1, func(r *v1.Report) { r.Phase = v1.PhaseRemoved })
	all = append(all, without(2, func(r *v1.Report) {
		r.Phase, r.Degraded = v1.PhaseRemoved, &v1.Remark{Reason: v1.ReasonRetained}
	})...)
	all = append(all, without(3, func(*v1.Report) {})...)
	all = append(all, webtest.Node(t, 4, now)[2]) // the Lease alone
	h := filled(t, append(all, webtest.Node(t, 5, now)...)...)
	var got []string
	for i := range 6 {
		if r, ok := h.rowOf(webtest.NodeName(i)); ok {
			got = append(got, strings.Join([]string{r.State, r.Reason, r.Message, r.Version}, "|"))
		}
	}
	want := []string{"no object|Removed|given back|0.2.0", "no object|Retained|2 NICs kept|0.2.0",
		"no object||the node has not reported what became of its NICs|0.2.0", "no object||the node has not reported what became of its NICs|", "Configured|AllInterfacesConfigured||0.2.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d := h.detailOf(webtest.NodeName(2)); len(d.Interfaces) != 2 || d.Interfaces[0].Wanted != nil {
		t.Errorf("the NICs that it kept: %+v", d.Interfaces)
	}
}

// Script is what a liar puts into each text of an object.
const script = `"'></script><script>alert(1)</script><img src=x onerror=alert(1)>` + "\u2028javascript:alert(1)\n\nevent: bye\ndata: {}\n\n"

// What a liar writes must go out as JSON in one line, without a character that means something to
// HTML, to a stream of events, or to a terminal; the browser's own test shows what becomes of it there.
func TestALiarsTextsAreOnlyTexts(t *testing.T) {
	for what, text := range map[string]string{"script": script, "what acts on terminals": hostile.Text} {
		t.Run(what, func(t *testing.T) {
			var o v1.MultiNicNodeConfig
			var e corev1.Event
			var request v1.NodeTokenRequest
			var list corev1.ConfigMap
			for _, v := range []any{&o, &e, &request, &list} {
				hostile.Fill(v)
				replaceTexts(reflect.ValueOf(v).Elem(), text)
			}
			e.InvolvedObject.Kind, list.Name = v1.NodeConfigKind, v1.BlockedName
			request.Status.SealedAt = nil
			for i := range o.Status.Conditions { // each kind of condition goes its own way
				o.Status.Conditions[i].Type = v1.ConditionReady
			}
			h := filled(t, &o, &e, &request, &list)
			rows, _ := h.news(0)
			if len(rows) != 1 {
				t.Fatalf("%d rows", len(rows))
			}
			d := h.detailOf(text)
			if !d.Known || len(d.Interfaces) == 0 || len(d.Conditions) == 0 || len(d.Events) == 0 || len(d.Token) < 2 {
				t.Fatalf("the page lacks something: %+v", d)
			}
			detail, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			h.trouble[events] = trouble{list: fmt.Errorf("%s", text)}
			notices, err := json.Marshal(h.notices())
			if err != nil {
				t.Fatal(err)
			}
			for _, sent := range []string{string(rows[0]), string(detail), string(notices)} {
				if strings.ContainsAny(sent, "<>&\n\r\u2028") {
					t.Errorf("it goes out as it is: %s", sent)
				}
				var back any
				if err := json.Unmarshal([]byte(sent), &back); err != nil {
					t.Error(err)
				}
				for _, s := range textsOf(back) {
					if what == "what acts on terminals" && strings.Contains(s, "FORGED") {
						hostile.Check(t, s)
					}
				}
			}
		})
	}
}

func replaceTexts(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(text)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			replaceTexts(v.Elem(), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			replaceTexts(v.Index(i), text)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.String {
			v.Clear()
			v.SetMapIndex(reflect.ValueOf(text).Convert(v.Type().Key()), reflect.ValueOf(text).Convert(v.Type().Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				replaceTexts(v.Field(i), text)
			}
		}
	}
}

func textsOf(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			out = append(out, textsOf(e)...)
		}
	case map[string]any:
		for _, e := range v {
			out = append(out, textsOf(e)...)
		}
	}
	return out
}
