package main

import (
	"errors"
	"strings"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/daemon"
	"multinicd/internal/daemon/asked"
	"multinicd/nic"
	"multinicd/plan"
)

// A pipeline that plans first wants to know by the code what apply would end with.
func TestAPlanEndsAsApplyWould(t *testing.T) {
	does := func(kinds ...plan.Kind) preview {
		var p preview
		for _, k := range kinds {
			p.NICs = append(p.NICs, nicPreview{Action: string(k)})
		}
		return p
	}
	for name, row := range map[string]struct {
		preview preview
		f       daemon.Foreseen
		want    int
	}{
		"nothing is wanted":                   {preview{}, daemon.Foreseen{}, exitDone},
		"all can be done":                     {does(plan.Configure, plan.Remove), daemon.Foreseen{}, exitDone},
		"one waits":                           {does(plan.Configure, plan.Wait), daemon.Foreseen{}, exitWaiting},
		"one is refused":                      {does(plan.Configure, plan.Refuse), daemon.Foreseen{}, exitRefused},
		"one waits, and one is refused":       {does(plan.Wait, plan.Refuse), daemon.Foreseen{}, exitRefused},
		"the whole object is refused":         {preview{Refused: "IdentityMismatch: another machine"}, daemon.Foreseen{}, exitRefused},
		"the object is held back by hand":     {does(plan.Configure), daemon.Foreseen{Mode: asked.ModeHeld}, exitRefused},
		"the newest object cannot be read":    {does(plan.Configure), daemon.Foreseen{Mode: asked.ModeUnread}, exitRefused},
		"the object waits for its release":    {does(plan.Configure), daemon.Foreseen{Mode: asked.ModeUnreleased}, exitWaiting},
		"it waits, and the old one is broken": {does(plan.Refuse), daemon.Foreseen{Mode: asked.ModeUnreleased}, exitRefused},
	} {
		t.Run(name, func(t *testing.T) {
			if got := row.preview.exitCode(row.f); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

// A NIC of which a change has not come to its end says so, also where nothing is planned for it.
func TestAPlanNamesWhatIsHalfWay(t *testing.T) {
	mac := nic.MAC{2, 0, 0, 0, 1, 1}
	planned := nicPreview{Name: "multinic1", MAC: mac.String(), Action: string(plan.Configure), Message: "as ever", Link: &nic.Change{Up: true}}
	for name, row := range map[string]struct {
		nics   []nicPreview
		err    error
		action string
		says   string
		code   int
	}{
		"cut off":                               {[]nicPreview{planned}, apply.ErrCutOff, "Configure", apply.ErrCutOff.Error() + "; as ever", exitDone},
		"cut off, and not wanted":               {nil, apply.ErrCutOff, "Nothing", apply.ErrCutOff.Error(), exitDone},
		"it could not be undone":                {[]nicPreview{planned}, errors.New("eth1 is taken"), "Wait", "eth1 is taken", exitRollbackFailed},
		"it could not be undone, nor is wanted": {nil, errors.New("eth1 is taken"), "Wait", "eth1 is taken", exitRollbackFailed},
	} {
		p := preview{NICs: row.nics}
		p.halfway(apply.Half{NIC: nic.Config{Name: "multinic1", MAC: mac}, Err: row.err})
		if len(p.NICs) != 1 || p.NICs[0].Action != row.action || !strings.HasSuffix(p.NICs[0].Message, row.says) || p.NICs[0].Name != "multinic1" {
			t.Errorf("%s: %+v", name, p.NICs)
		}
		if p.NICs[0].Link != nil && row.action == "Wait" {
			t.Errorf("%s: it says what would be changed, and nothing would", name)
		}
		if got := p.exitCode(daemon.Foreseen{}); got != row.code {
			t.Errorf("%s: it ends with %d, want %d", name, got, row.code)
		}
	}
}
