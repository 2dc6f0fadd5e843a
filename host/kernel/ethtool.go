package kernel

import (
	"unsafe"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// permanentMAC asks the driver by ioctl for the burnt-in address (ETHTOOL_GPERMADDR,
// linux/ethtool.h). Kernels before 5.6 do not give it over netlink. It is zero if there is none, or
// if the link has gone.
func permanentMAC(name string) nic.MAC {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nic.MAC{}
	}
	defer func() { _ = unix.Close(s) }()
	ask := struct {
		cmd, size uint32
		data      [32]byte // MAX_ADDR_LEN
	}{cmd: unix.ETHTOOL_GPERMADDR, size: 32}
	ifreq := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&ask)}
	copy(ifreq.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 || ask.size != uint32(len(nic.MAC{})) {
		return nic.MAC{}
	}
	return nic.MACFrom(ask.data[:ask.size])
}
