package nic

import (
	"bytes"
	"fmt"
	"net"
)

// MAC is an Ethernet hardware address. It is comparable and may be a map key. The zero value means
// "none".
type MAC [6]byte

// ParseMAC reads six octets in hexadecimal, either case, separated by ':' or '-'. It refuses group
// addresses (the lowest bit of the first octet is set) and the zero address, because no NIC has one
// of these as its own.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(MAC{}) || len(s) != len("02:00:00:00:01:01") {
		// net.ParseMAC reads other spellings too.
		return MAC{}, fmt.Errorf("parsing MAC %q: want six octets such as 02:00:00:00:01:01", s)
	}
	m := MAC(hw)
	if m.IsZero() || m[0]&1 == 1 {
		return MAC{}, fmt.Errorf("parsing MAC %q: a NIC has neither the zero address nor a group address", s)
	}
	return m, nil
}

// MACFrom converts what the kernel gave. Anything but six octets gives the zero MAC.
func MACFrom(hw net.HardwareAddr) MAC {
	if len(hw) != len(MAC{}) {
		return MAC{}
	}
	return MAC(hw)
}

// IsZero says that there is no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// String gives lower-case octets separated by ':', and "" for the zero value.
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	return net.HardwareAddr(m[:]).String()
}

// Compare orders by octets, as the texts are ordered.
func (m MAC) Compare(o MAC) int { return bytes.Compare(m[:], o[:]) }

// MarshalText writes what String gives.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote; the empty text is the zero MAC.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	v, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = v
	return nil
}
