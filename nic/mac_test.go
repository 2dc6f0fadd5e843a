package nic

import (
	"encoding/json"
	"net"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want MAC // zero: refused
	}{
		"lower case with colons is read":         {"02:00:00:00:0a:bc", MAC{2, 0, 0, 0, 0x0a, 0xbc}},
		"upper case is read":                     {"FA:16:3E:AB:CD:EF", MAC{0xfa, 0x16, 0x3e, 0xab, 0xcd, 0xef}},
		"dashes are read":                        {"02-00-00-00-01-01", MAC{2, 0, 0, 0, 1, 1}},
		"a burnt-in address is read":             {"00:00:5e:00:53:01", MAC{0, 0, 0x5e, 0, 0x53, 1}},
		"nothing is refused":                     {"", MAC{}},
		"the zero address is refused":            {"00:00:00:00:00:00", MAC{}},
		"a group address is refused":             {"01:00:5e:00:00:01", MAC{}},
		"the broadcast address is refused":       {"ff:ff:ff:ff:ff:ff", MAC{}},
		"an EUI-64 is refused":                   {"02:00:00:00:00:00:01:01", MAC{}},
		"five octets are refused":                {"02:00:00:00:01", MAC{}},
		"an octet of one digit is refused":       {"2:0:0:0:1:1", MAC{}},
		"a digit that is none is refused":        {"02:00:00:00:01:0g", MAC{}},
		"no separator is refused":                {"020000000101", MAC{}},
		"dots are refused":                       {"0200.0000.0101", MAC{}},
		"mixed separators are refused":           {"02:00-00:00:01:01", MAC{}},
		"a space in front is refused":            {" 02:00:00:00:01:01", MAC{}},
		"a line behind is refused":               {"02:00:00:00:01:01\nevil: true", MAC{}},
		"an InfiniBand address is refused":       {"00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01", MAC{}},
		"an IPv4 address is no MAC, nor is this": {"192.0.2.1", MAC{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMAC(test.text)
			if got != test.want || (err == nil) == test.want.IsZero() {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestMACFrom(t *testing.T) {
	for name, test := range map[string]struct {
		hw   net.HardwareAddr
		want string
	}{
		"six octets are a MAC":                           {net.HardwareAddr{2, 0, 0, 0, 1, 1}, "02:00:00:00:01:01"},
		"none, as of a tunnel, is no MAC":                {nil, ""},
		"twenty, as of InfiniBand, are no MAC":           {make(net.HardwareAddr, 20), ""},
		"the kernel's zero address, as of lo, is no MAC": {make(net.HardwareAddr, 6), ""},
		"what the kernel gives is not judged":            {net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}, "01:00:5e:00:00:01"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := MACFrom(test.hw).String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMACInJSONIsItsText(t *testing.T) {
	type doc struct{ MAC, Permanent MAC }
	in := doc{MAC: MAC{2, 0, 0, 0, 1, 1}}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(data), `{"MAC":"02:00:00:00:01:01","Permanent":""}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	out := doc{Permanent: MAC{9}}
	if err := json.Unmarshal(data, &out); err != nil || out != in {
		t.Errorf("got %v, %v, want %v", out, err, in)
	}
	if err := json.Unmarshal([]byte(`{"MAC":"garbage"}`), &out); err == nil {
		t.Error("garbage was read")
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"02:00:00:00:01:01", "FA-16-3E-AB-CD-EF", "0200.0000.0101", "ff:ff:ff:ff:ff:ff", "", "02:00:00:00:01:01\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			if !m.IsZero() {
				t.Fatalf("refused, but got %s", m)
			}
			return
		}
		if m.IsZero() || m[0]&1 == 1 {
			t.Fatalf("accepted %q, which no NIC has", s)
		}
		again, err := ParseMAC(m.String())
		if err != nil || again != m {
			t.Fatalf("%q became %s, which became %s, %v", s, m, again, err)
		}
	})
}
