package host

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// PermanentMAC asks the driver of a link by ioctl for the burnt-in address (ETHTOOL_GPERMADDR,
// linux/ethtool.h), in the network namespace of the calling thread. Kernels before 5.6 do not give the
// address over netlink. It is nil if there is none, or if the link has gone.
func PermanentMAC(link string) []byte {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
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
	copy(ifreq.name[:unix.IFNAMSIZ-1], link)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 {
		return nil
	}
	return ask.data[:min(ask.size, uint32(len(ask.data)))]
}
